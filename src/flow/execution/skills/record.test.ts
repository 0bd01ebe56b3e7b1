import { describe, expect, test } from 'vitest'
import { recordSkill } from './record.ts'
import { waitSkill } from './wait.ts'

describe('record', () => {
  test('makes a step of what happened elsewhere; what is not given was not recorded', () => {
    const params = { kind: 'tool', name: 'bash', input: { cmd: 'ls' }, output: 'a\0b', error: 'Exit 1', latencyMs: 5 }
    expect(recordSkill().prepare(params)).toEqual({
      kind: 'record',
      step: { ...params, tokensIn: null, tokensOut: null, costUsd: null },
    })
  })

  test.each([
    { kind: 'sleep' },
    {},
    { kind: 'tool', tokensIn: -1 },
    { kind: 'tool', tokensOut: 1.5 },
    { kind: 'tool', costUsd: -0.1 },
    { kind: 'tool', costUsd: 1e12 },
    { kind: 'tool', attributes: [] },
    { kind: 'tool', name: '' },
    { kind: 'tool', extra: 1 },
  ])('refuses %j', (params) => {
    expect(() => recordSkill().prepare(params)).toThrow(expect.objectContaining({ code: 'INVALID_PLAN' }))
  })
})

describe('wait', () => {
  test('makes a step that sleeps', () => {
    expect(waitSkill().prepare({ ms: 250 })).toEqual({ kind: 'wait', ms: 250 })
  })

  test.each([{}, { ms: -1 }, { ms: 0.5 }, { ms: '5' }, { ms: 1e12 }])('refuses %j', (params) => {
    expect(() => waitSkill().prepare(params)).toThrow(expect.objectContaining({ code: 'INVALID_PLAN' }))
  })
})
