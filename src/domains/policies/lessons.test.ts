import { describe, expect, it } from 'vitest'
import { Expressions } from './expressions.ts'
import { lessonsOf } from './lessons.ts'
import { inForce, parsePolicies } from './policies.ts'
import { evaluate } from './policy-rules.ts'

const at = new Date('2026-01-01T00:00:00Z')
const expressions = new Expressions()
const learn = (tokens: number, maxima: readonly number[], succeeded = true) => {
  const limits = maxima.map((max, i) => ({ name: `p${i}`, metric: 'tokens' as const, max }))
  const policies = parsePolicies([...limits, { name: 'when', when: 'false' }], expressions)
  const nothing = { costNanoUsd: null, uncostedSteps: 0, tokensOut: null, failedSteps: 0, toolCalls: 0 }
  const verdict = evaluate(
    { tenantId: 't', agent: 'agent', ...nothing, tokensIn: tokens, steps: 1, wallClockMs: null },
    policies.map((policy) => inForce(policy, 1, expressions)),
  )
  return lessonsOf({ tenantId: 't', runId: 'r', agent: 'agent', succeeded, verdict, at }).map(
    ({ kind, policy, share }) => [kind, policy, share],
  )
}

describe('what a tenant learns from a run', () => {
  it.each([
    ['at 85 % of a limit', 85, [100], [['NEAR_THRESHOLD', 'p0', 0.85]]],
    ['just at the limit', 100, [100], [['NEAR_THRESHOLD', 'p0', 1]]],
    [
      'near two limits of three',
      90,
      [100, 95, 1_000],
      [
        ['NEAR_THRESHOLD', 'p0', 0.9],
        ['NEAR_THRESHOLD', 'p1', 90 / 95],
      ],
    ],
    ['over the limit', 101, [100], []],
    ['between', 60, [100], []],
    ['half of the tightest limit', 50, [100, 200], [['EFFICIENT_SUCCESS', 'p0', 0.5]]],
    ['without a limit', 50, [], []],
    ['with a limit of nothing', 0, [0], []],
  ])('%s', (_when, tokens, maxima, lessons) => {
    expect(learn(tokens, maxima)).toEqual(lessons)
  })

  it('a failed run was not efficient, but can have come near a limit', () => {
    expect(learn(10, [100], false)).toEqual([])
    expect(learn(99, [100], false)).toEqual([['NEAR_THRESHOLD', 'p0', 0.99]])
  })
})
