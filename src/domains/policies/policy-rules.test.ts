import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { evaluate, type LimitPolicy, type Usage } from './policy-rules.ts'

const policy = (changes: Partial<LimitPolicy> = {}): LimitPolicy => {
  return { name: 'p', version: 1, agent: null, metric: 'cost_usd', maxValue: 0.3, effect: 'terminate', ...changes }
}
const usage = (changes: Partial<Usage> = {}): Usage => ({ costNanoUsd: null, tokens: null, steps: 0, ...changes })
const outcome = (used: Usage, ...policies: LimitPolicy[]) => evaluate('agent', used, policies).outcome

describe('the policies in scope', () => {
  it.each([
    ['none', [], 'NOT_APPLICABLE'],
    ['only another agent’s', [policy({ agent: 'other', maxValue: 0 })], 'NOT_APPLICABLE'],
    ['all met', [policy(), policy({ metric: 'steps', maxValue: 5 })], 'NO_VIOLATION'],
    ['a warning hit', [policy({ metric: 'steps', maxValue: 4, effect: 'warn' }), policy()], 'ADVISORY'],
    ['a limit hit', [policy({ metric: 'tokens', maxValue: 99 })], 'VIOLATION'],
    [
      'a limit and a warning hit',
      [policy({ metric: 'tokens', maxValue: 99 }), policy({ metric: 'steps', maxValue: 0, effect: 'warn' })],
      'VIOLATION',
    ],
  ])('%s', (_which, policies, expected) => {
    expect(outcome(usage({ costNanoUsd: 300_000_000n, tokens: 100, steps: 5 }), ...policies)).toBe(expected)
  })

  it('compare money in whole nano-dollars: 0.1 + 0.2 is not over 0.3', () => {
    expect(outcome(usage({ costNanoUsd: 100_000_000n + 200_000_000n }), policy())).toBe('NO_VIOLATION')
    expect(outcome(usage({ costNanoUsd: 300_000_001n }), policy())).toBe('VIOLATION')
  })

  it('hold nothing against a run that recorded nothing, and say so: the value is null, not zero', () => {
    expect(evaluate('agent', usage(), [policy({ maxValue: 0 })])).toEqual({
      outcome: 'NO_VIOLATION',
      findings: [{ name: 'p', version: 1, metric: 'cost_usd', effect: 'terminate', limit: 0, value: null, met: true }],
    })
  })

  it('are met up to the limit itself and not beyond, for every metric', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (used, max) => {
        const expected = used <= max ? 'NO_VIOLATION' : 'VIOLATION'
        expect(outcome(usage({ tokens: used }), policy({ metric: 'tokens', maxValue: max }))).toBe(expected)
        expect(outcome(usage({ steps: used }), policy({ metric: 'steps', maxValue: max }))).toBe(expected)
        expect(outcome(usage({ costNanoUsd: BigInt(used) }), policy({ maxValue: max / 1e9 }))).toBe(expected)
      }),
    )
  })
})
