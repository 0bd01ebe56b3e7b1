import { describe, expect, it } from 'vitest'
import { lessonsOf } from './lessons.ts'
import { evaluate } from './policy-rules.ts'

const at = new Date('2026-01-01T00:00:00Z')
const learn = (tokens: number, maxima: readonly number[], succeeded = true) => {
  const policies = maxima.map((maxValue, i) => {
    return { name: `p${i}`, version: 1, agent: null, metric: 'tokens', maxValue, effect: 'terminate' } as const
  })
  const verdict = evaluate('agent', { costNanoUsd: null, tokens, steps: 1 }, policies)
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
