import { describe, expect, it } from 'vitest'
import { matchesType, parseSubscription } from './subscription.ts'

describe('a subscription', () => {
  it.each([
    [['run.completed'], 'run.completed', true],
    [['run.completed'], 'run.completed.late', false],
    [['run.*'], 'run.failed', true],
    [['run.*'], 'running.late', false],
    [['run.*'], 'run', false],
    [['audit.reconciliation.*', 'alert.raised'], 'alert.raised', true],
    [['*'], 'incident.created', true],
  ])('to %j means %s: %s', (types, type, means) => {
    expect(matchesType(types, type)).toBe(means)
  })

  it.each([
    [{ types: [] }],
    [{ types: ['run.*.x'] }],
    [{ types: ['run*'] }],
    [{ types: ['run.complete'] }],
    [{ types: ['runs.*', 'run.failed'] }],
    [{ url: 'ftp://example.com' }],
    [{ url: 'https://user:word@example.com' }],
    [{ url: `https://example.com/${'x'.repeat(3_000)}` }],
    [{ secret: 'short' }],
    [{ unknown: true }],
  ])('is refused where it is not valid: %j', (change) => {
    const request = { types: ['run.completed'], url: 'https://example.com/hook', ...change }
    expect(() => parseSubscription(request)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
  })
})
