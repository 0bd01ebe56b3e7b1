import { describe, expect, it } from 'vitest'
import {
  type ActivePolicy,
  Expressions,
  inForce,
  type PolicyInput,
  parsePolicies,
} from '../../domains/policies/policies.ts'
import { silentLogger } from '../../foundation/log.ts'
import { createMetrics } from '../../foundation/metrics.ts'
import {
  MidExecutionPolicyChecker,
  type PolicyCheckerOptions,
  type PolicyCheckResult,
} from './mid-execution-policy-checker.ts'
import type { CheckFacts } from './policy-check.ts'

const expressions = new Expressions()
const policy = (input: object, version = 1): ActivePolicy => {
  const [definition] = parsePolicies([{ name: 'p', ...input } as PolicyInput], expressions)
  return inForce(definition!, version, expressions)
}
const limit = (input: object = {}, version = 1) => policy({ metric: 'steps', max: 10, ...input }, version)

const run = {
  tenantId: 'acme',
  agent: 'agent',
  costNanoUsd: 600_000_000n,
  uncostedSteps: 0,
  tokensIn: 70,
  tokensOut: 30,
  steps: 5,
  failedSteps: 0,
  toolCalls: 2,
  wallClockMs: 60_000,
}
const shell = { kind: 'tool', name: 'clean', tool: 'shell' }
const quiet: CheckFacts = { run, stop: null, tenantSuspended: false, policies: [], atStart: [], windowUse: new Map() }
const stop = { by: 'ann', why: 'enough' }

/** A checker with a clock that is set by hand, and how often it has read. */
function checkerOf(options: Partial<PolicyCheckerOptions> & { readonly facts?: Partial<CheckFacts> } = {}) {
  const state = { seconds: 0, reads: 0, facts: { ...quiet, atStart: options.facts?.policies ?? [], ...options.facts } }
  const metrics = createMetrics()
  const checker = new MidExecutionPolicyChecker({
    enabled: true,
    intervalMs: 30_000,
    minSteps: 3,
    onError: 'continue',
    muted: false,
    readFacts: async () => {
      state.reads++
      return state.facts
    },
    clock: { now: () => new Date(state.seconds * 1_000) },
    log: silentLogger,
    metrics,
    ...options,
  })
  const check = async () => checker.checkBeforeStep(shell)
  return { checker, check, state, metrics }
}
const summary = ({ decision, pauseReason, violations }: PolicyCheckResult) => {
  return [decision, pauseReason, violations.map(({ type }) => type)]
}

describe('a check before a step', () => {
  const asks = { name: 'shell', when: 'step.tool == "shell" && run.cost_usd > 0.5' }
  const rate = { metric: 'requests_per_minute', max: 60, scope: 'tenant' }
  const use = (n: number) => ({ windowUse: new Map([['p', n]]) })
  const rows: readonly [string, Partial<CheckFacts>, string, string | null, string[]][] = [
    ['nothing', {}, 'CONTINUE', null, []],
    ['a stop', { stop }, 'TERMINATE', null, ['MANUAL_STOP']],
    ['a suspended tenant', { tenantSuspended: true }, 'TERMINATE', null, ['TENANT_SUSPENDED']],
    ['a limit that this step still keeps', { policies: [limit({ max: 6 })] }, 'CONTINUE', null, []],
    ['a limit that this step breaks', { policies: [limit({ max: 5 })] }, 'TERMINATE', null, ['BUDGET_EXCEEDED']],
    ['a cost at its limit', { policies: [limit({ metric: 'cost_usd', max: 0.6 })] }, 'CONTINUE', null, []],
    [
      'a cost over it',
      { policies: [limit({ metric: 'cost_usd', max: 0.59 })] },
      'TERMINATE',
      null,
      ['BUDGET_EXCEEDED'],
    ],
    [
      'one tool call too many',
      { policies: [limit({ metric: 'tool_calls', max: 2 })] },
      'TERMINATE',
      null,
      ['BUDGET_EXCEEDED'],
    ],
    [
      'too much time',
      { policies: [limit({ metric: 'wall_clock_seconds', max: 59 })] },
      'TERMINATE',
      null,
      ['BUDGET_EXCEEDED'],
    ],
    ['a limit of another agent', { policies: [limit({ max: 0, agent: 'other' })] }, 'CONTINUE', null, []],
    [
      'a limit that pauses',
      { policies: [limit({ max: 0, effect: 'pause' })] },
      'PAUSE',
      'BUDGET_WARNING',
      ['BUDGET_EXCEEDED'],
    ],
    ['a limit that warns', { policies: [limit({ max: 0, effect: 'warn' })] }, 'CONTINUE', null, ['BUDGET_EXCEEDED']],
    ['a condition that terminates', { policies: [policy(asks)] }, 'TERMINATE', null, ['BUDGET_EXCEEDED']],
    [
      'a condition that asks for approval',
      { policies: [policy({ ...asks, effect: 'require_approval' })] },
      'PAUSE',
      'APPROVAL_REQUIRED',
      ['BUDGET_EXCEEDED'],
    ],
    [
      'a condition that fails',
      { policies: [policy({ when: '1 / run.failed_steps > 1' })] },
      'TERMINATE',
      null,
      ['BUDGET_EXCEEDED'],
    ],
    ['a rate with room for this request', { policies: [limit(rate)], ...use(59) }, 'CONTINUE', null, []],
    ['a rate without', { policies: [limit(rate)], ...use(60) }, 'PAUSE', 'RATE_LIMIT_SOFT', ['RATE_LIMIT_HIT']],
    [
      'a day of a tenant',
      { policies: [limit({ metric: 'tokens', max: 99, scope: 'tenant', window: 'day' })], ...use(100) },
      'TERMINATE',
      null,
      ['BUDGET_EXCEEDED'],
    ],
  ]
  it.each(rows)('%s', async (_what, facts, decision, pauseReason, types) => {
    const result = await checkerOf({ facts }).check()
    expect(summary(result)).toEqual([decision, pauseReason, types])
    expect(result.shouldContinue).toBe(decision === 'CONTINUE')
  })

  it('takes the worst of several, and names them all', async () => {
    const soft = limit({ name: 'soft', max: 0, effect: 'pause' })
    const asking = policy({ ...asks, effect: 'require_approval' })
    const hard = limit({ name: 'hard', max: 0 })
    const decided = async (facts: Partial<CheckFacts>) => summary(await checkerOf({ facts }).check()).slice(0, 2)
    expect(await decided({ policies: [soft, asking] })).toEqual(['PAUSE', 'APPROVAL_REQUIRED'])
    const changed = { policies: [asking, soft], atStart: [asking, limit({ name: 'soft', max: 9 }, 2)] }
    expect(await decided(changed)).toEqual(['PAUSE', 'POLICY_CHANGE'])
    expect(await decided({ policies: [asking, soft, hard] })).toEqual(['TERMINATE', null])
    const all = await checkerOf({ facts: { policies: [soft, hard], stop, tenantSuspended: true } }).check()
    expect(all.violations).toHaveLength(4)
  })

  it('tells value, limit, policy, version and time', async () => {
    const { check, state } = checkerOf({ facts: { policies: [limit({ max: 4 }, 7)] } })
    state.seconds = 100
    expect((await check()).violations).toEqual([
      {
        type: 'BUDGET_EXCEEDED',
        message: 'policy p: steps 5 and this step over 4',
        currentValue: 5,
        limit: 4,
        policyId: 'p',
        policyVersion: 7,
        previousVersion: 7,
        at: new Date(100_000),
      },
    ])
  })
})

describe('a policy that changes while a run runs', () => {
  const old = (onChange: string) => limit({ max: 10, onChange }, 1)
  const tight = (onChange: string) => limit({ max: 1, onChange }, 2)
  const broken = ['TERMINATE', null, ['BUDGET_EXCEEDED']]
  const paused = (type: string) => ['PAUSE', 'POLICY_CHANGE', [type]]
  const fine = ['CONTINUE', null, []]
  it.each([
    ['changed, pause', [old('pause')], [tight('pause')], paused('LIMIT_CHANGED')],
    ['changed, live', [old('live')], [tight('live')], broken],
    ['changed, pinned', [old('pinned')], [tight('pinned')], fine],
    ['changed: the mode that it started under counts', [old('pinned')], [tight('pause')], fine],
    ['disabled, pause', [old('pause')], [], paused('POLICY_DISABLED')],
    ['disabled, live', [limit({ max: 1, onChange: 'live' })], [], fine],
    ['disabled, pinned', [limit({ max: 1, onChange: 'pinned' })], [], broken],
    ['new, pause', [], [tight('pause')], paused('LIMIT_CHANGED')],
    ['new, live', [], [tight('live')], broken],
    ['new, pinned', [], [tight('pinned')], fine],
    ['of another agent', [], [limit({ max: 1, agent: 'other' })], fine],
  ])('%s', async (_what, atStart, policies, expected) => {
    expect(summary(await checkerOf({ facts: { atStart, policies } }).check())).toEqual(expected)
  })

  it('names the versions before and after', async () => {
    const changed = await checkerOf({ facts: { atStart: [old('pause')], policies: [tight('pause')] } }).check()
    expect(changed.violations).toMatchObject([{ previousVersion: 1, policyVersion: 2, currentValue: 10, limit: 1 }])
    const gone = await checkerOf({ facts: { atStart: [old('pause')], policies: [] } }).check()
    expect(gone.violations).toMatchObject([{ previousVersion: 1, policyVersion: null }])
  })
})

describe('the throttle', () => {
  it('checks before the first step, then when interval and steps have both passed', async () => {
    const { check, state } = checkerOf()
    const at = async (seconds: number) => {
      state.seconds = seconds
      return (await check()).decision
    }
    expect(await at(0)).toBe('CONTINUE')
    expect(await at(40)).toBe('SKIP') // time, but not the steps
    expect(await at(50)).toBe('SKIP')
    expect(await at(60)).toBe('CONTINUE')
    expect([await at(61), await at(62), await at(63), await at(89)]).toEqual(Array(4).fill('SKIP')) // steps, not time
    expect(await at(90)).toBe('CONTINUE')
    expect(state.reads).toBe(3)
  })

  it('checks each step with interval 0 and one step', async () => {
    const { check, state } = checkerOf({ intervalMs: 0, minSteps: 1 })
    for (let step = 0; step < 5; step++) await check()
    expect(state.reads).toBe(5)
  })

  it('gives way to a change of policy, at the next step', async () => {
    const { checker, check, state } = checkerOf()
    await check()
    checker.checkNext()
    expect((await check()).decision).toBe('CONTINUE')
    expect((await check()).decision).toBe('SKIP')
    expect(state.reads).toBe(2)
  })

  it('answers a throttled check at once, without reading, in under 2 µs', async () => {
    const { checker, check, state } = checkerOf()
    await check()
    const rounds = 100_000
    let result = checker.checkBeforeStep(shell)
    const startedAt = performance.now()
    for (let round = 0; round < rounds; round++) result = checker.checkBeforeStep(shell)
    const microseconds = ((performance.now() - startedAt) * 1_000) / rounds
    expect(result).toMatchObject({ decision: 'SKIP', shouldContinue: true })
    expect(state.reads).toBe(1)
    expect(microseconds).toBeLessThan(2)
  })

  it('skips all when the check is off, and touches nothing', async () => {
    const { check, state } = checkerOf({ enabled: false, facts: { stop } })
    expect((await check()).decision).toBe('SKIP')
    expect(state.reads).toBe(0)
  })
})

describe('a check that cannot decide, or must not', () => {
  const readFacts = () => Promise.reject(new Error('no database'))
  it.each([
    ['continue', 'CONTINUE', true],
    ['pause', 'PAUSE', false],
  ] as const)('fails: POLICY_CHECK_ON_ERROR=%s', async (onError, decision, shouldContinue) => {
    const { check, metrics } = checkerOf({ onError, readFacts })
    expect(await check()).toMatchObject({ decision, shouldContinue, reason: 'the check failed: no database' })
    expect(await metrics.text()).toContain(`concordat_policy_checks_total{decision="${decision}"} 1`)
  })

  it('has not read what a limit adds up: that is an error, not a limit that is met', async () => {
    const policies = [limit({ scope: 'tenant', window: 'day' })]
    const result = await checkerOf({ onError: 'pause', facts: { policies } }).check()
    expect(result).toMatchObject({ decision: 'PAUSE', reason: expect.stringContaining('was not read') })
  })

  it('only observes: policies decide nothing, people do', async () => {
    const policies = [limit({ max: 0 })]
    const observed = await checkerOf({ muted: true, facts: { policies } }).check()
    expect(summary(observed)).toEqual(['CONTINUE', null, ['BUDGET_EXCEEDED']])
    const stopped = await checkerOf({ muted: true, facts: { policies, stop } }).check()
    expect(stopped.decision).toBe('TERMINATE')
  })
})
