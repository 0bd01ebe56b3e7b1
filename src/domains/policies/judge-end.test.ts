import { describe, expect, it } from 'vitest'
import { Expressions } from './expressions.ts'
import { judgeEnd } from './judge-end.ts'
import { type ActivePolicy, evaluate, inForce, type MetViolation, parsePolicies } from './policies.ts'
import { heldAtEnd, heldWhileRunning, versionNow, versionsOf } from './policy-versions.ts'

const at = new Date('2026-01-01T00:00:00Z')
const expressions = new Expressions()
const policy = (input: object = {}, version = 1): ActivePolicy => {
  const [definition] = parsePolicies([{ name: 'p', metric: 'steps', max: 5, ...input }], expressions)
  return inForce(definition!, version, expressions)
}
const condition = (when: string, version: number): ActivePolicy => {
  const [definition] = parsePolicies([{ name: 'c', when }], expressions)
  return inForce(definition!, version, expressions)
}
const run = {
  tenantId: 't',
  agent: 'a',
  costNanoUsd: null,
  uncostedSteps: 0,
  tokensIn: null,
  tokensOut: null,
  failedSteps: 0,
  toolCalls: 0,
  wallClockMs: 1,
}
const met = (decision: MetViolation['decision'], more: Partial<MetViolation> = {}): MetViolation => ({
  type: 'BUDGET_EXCEEDED',
  message: 'm',
  currentValue: 5,
  limit: 5,
  policyId: 'p',
  policyVersion: 1,
  previousVersion: 1,
  decision,
  at: at.toISOString(),
  ...more,
})
const judged = (steps: number, policies: ActivePolicy[], facts: Partial<Parameters<typeof judgeEnd>[1]> = {}) => {
  const rest = { refused: false, met: [], changed: new Map(), muted: false, at }
  return judgeEnd(evaluate({ ...run, steps }, policies), { ...rest, ...facts })
}
const outcome = (...args: Parameters<typeof judged>) => judged(...args).verdict.outcome
const changed = met('PAUSE', { type: 'LIMIT_CHANGED', policyVersion: 2 })

describe('the verdict on a run with what it met on its way', () => {
  it.each([
    ['met nothing, keeps all', outcome(5, [policy()]), 'NO_VIOLATION'],
    ['breaks a limit', outcome(6, [policy()]), 'VIOLATION'],
    ['breaks it, and is only observed', outcome(6, [policy()], { muted: true }), 'ADVISORY'],
    [
      'was ended before the step over a limit',
      outcome(5, [policy()], { refused: true, met: [met('TERMINATE')] }),
      'VIOLATION',
    ],
    [
      'was ended by people, and warned before',
      outcome(5, [policy()], { refused: true, met: [met('CONTINUE')] }),
      'ADVISORY',
    ],
    ['was paused for a change and resumed', outcome(5, [policy({}, 2)], { met: [changed] }), 'ADVISORY'],
    ['was paused for a change to nothing and resumed', outcome(5, [], { met: [changed] }), 'ADVISORY'],
    ['was paused for a change and let end', outcome(5, [policy()], { refused: true, met: [changed] }), 'VIOLATION'],
    ['was resumed and then broke the new limit', outcome(9, [policy({}, 2)], { met: [changed] }), 'VIOLATION'],
    ['met an end after its last step', outcome(5, [policy()], { met: [met('TERMINATE')] }), 'VIOLATION'],
    ['met one by a version that holds no more', outcome(5, [policy({}, 2)], { met: [met('TERMINATE')] }), 'ADVISORY'],
    ['met what was muted', outcome(5, [policy()], { met: [met('TERMINATE')], muted: true }), 'ADVISORY'],
    ['needed an approval, and got none', outcome(6, [policy({ effect: 'require_approval' })]), 'VIOLATION'],
    ['was approved', outcome(6, [policy({ effect: 'require_approval' })], { met: [met('PAUSE')] }), 'ADVISORY'],
    ['met no policy at all', outcome(6, []), 'NOT_APPLICABLE'],
  ])('of a run that %s', (_what, is, expected) => {
    expect(is).toBe(expected)
  })

  it('names what is broken at the end once, with the versions before and after', () => {
    const versions = { before: policy({}, 1), now: policy({ max: 4 }, 2) }
    const { violations } = judged(6, [versions.now], { met: [changed], changed: new Map([['p', versions]]) })
    expect(violations).toEqual([
      changed,
      met('TERMINATE', { message: 'policy p: steps 6 over 4', currentValue: 6, limit: 4, policyVersion: 2 }),
    ])
    expect(judged(6, [policy()], { met: [met('TERMINATE')] }).violations).toEqual([met('TERMINATE')])
  })
})

describe('a policy that has changed since a run started', () => {
  const of = (onChange: string) => {
    const [before, now] = [policy({ onChange }, 1), policy({ onChange, max: 9 }, 2)]
    const each = [
      { before, now },
      { before, now: null },
      { before: null, now },
      { before, now: before },
    ]
    return each.map((versions) => {
      const { holds, changed } = heldWhileRunning(versions)
      return [holds?.version ?? null, changed, heldAtEnd(versions)?.version ?? null]
    })
  }
  it.each([
    // changed, gone, new, as it was: [held before a step, stands against it, held at the end]
    [
      'pause',
      [
        [1, true, 2],
        [1, true, null],
        [null, true, 2],
        [1, false, 1],
      ],
    ],
    [
      'live',
      [
        [2, false, 2],
        [null, false, null],
        [2, false, 2],
        [1, false, 1],
      ],
    ],
    [
      'pinned',
      [
        [1, false, 1],
        [1, false, 1],
        [null, false, null],
        [1, false, 1],
      ],
    ],
  ])('holds as its mode says: %s', (onChange, expected) => {
    expect(of(onChange)).toEqual(expected)
  })

  it('is the same where only its description differs, and the same rule applied again', () => {
    const [before, now] = [policy({}, 1), policy({ description: 'for people' }, 3)]
    expect(heldWhileRunning({ before, now })).toEqual({ holds: now, changed: false })
    expect(heldWhileRunning({ before, now: policy({ effect: 'warn' }, 2) }).changed).toBe(true)
    const [asked, again] = ['run.steps > 1', 'run.steps > 1'].map((when, i) => condition(when, i + 1))
    expect(heldWhileRunning({ before: asked!, now: again! }).changed).toBe(false)
    expect(heldWhileRunning({ before: asked!, now: condition('run.steps > 2', 2) }).changed).toBe(true)
  })

  it('is told with the version that disables it, and with none where it was removed', () => {
    const [before, off] = [policy({}, 1), policy({ enabled: false }, 2)]
    const disabled = versionsOf([before], [off]).get('p')!
    expect([disabled.now, versionNow(disabled), heldAtEnd(disabled)]).toEqual([null, 2, null])
    expect(versionNow(versionsOf([before], []).get('p')!)).toBe(null)
    expect(heldWhileRunning(versionsOf([off], [off]).get('p')!)).toEqual({ holds: null, changed: false })
    expect(evaluate({ ...run, steps: 9 }, [off]).outcome).toBe('NOT_APPLICABLE')
  })
})
