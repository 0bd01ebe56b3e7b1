import { beforeAll, describe, expect, it, vi } from 'vitest'
import { defineAgent, type PolicyInput } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()
/** Tenants whose runs may come to their end. */
let finished = new Set<string>()

const TICK_MS = 2
/** Three runtimes, beside other tests. */
const OPEN_MS = 120_000

/** Spends a little, waits at its tenant's gate, and then works until it may end. */
const works = defineAgent<string>({
  name: 'works',
  version: '1',
  async run({ input, step }) {
    const used = { tokensIn: 700, tokensOut: 300, costUsd: 0.3 }
    await step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', ...used })
    await step.record({ kind: 'tool', name: 'search', input: 'q', output: 'a' })
    await step.do('wait', ({ signal }) => gates.at(input).pass(signal), { sideEffects: false })
    const tick = () => new Promise((resolve) => setTimeout(resolve, TICK_MS))
    do await step.do('work', tick, { sideEffects: false })
    while (!finished.has(input))
  },
})

const everyStep = { policyCheckIntervalMs: 0, policyCheckMinSteps: 1 }
const CHECK = 'policy_check_facts'

describeOnDatabases('a run whose policies are checked on the way', (open) => {
  /** Checks at the defaults of STRICT: the first step, then every 30 s. */
  let runtime: TestRuntime
  /** Checks before each step. */
  let strict: TestRuntime
  /** The same, and only observes. */
  let observed: TestRuntime
  let read: string[] = []
  beforeAll(async () => {
    gates = new Gates()
    finished = new Set()
    read = []
    runtime = await open({ agents: [works] })
    strict = await open({ agents: [works], config: everyStep })
    observed = await open({ agents: [works], config: { ...everyStep, governanceProfile: 'OBSERVE_ONLY' } })
    runtime.database.intercept(({ statement }) => void (statement.startsWith('policy_') && read.push(statement)))
  }, OPEN_MS)

  let tenants = 0
  const tenantWith = async (on: TestRuntime, ...policies: PolicyInput[]) => {
    const tenantId = `checks-${++tenants}`
    await on.concordat.tenants.put({ tenantId })
    await on.concordat.policies.apply(tenantId, policies)
    return tenantId
  }
  /** A run of such a tenant in the middle of its third step. */
  const underWay = async (on: TestRuntime, ...policies: PolicyInput[]) => {
    const tenantId = await tenantWith(on, ...policies)
    const run = await on.runs.submit({ tenant: tenantId, agent: 'works', input: tenantId })
    await gates.at(tenantId).reached
    return {
      tenantId,
      run,
      apply: (list: PolicyInput[], prune = false) => on.concordat.policies.apply(tenantId, list, { prune }),
      report: () => on.runs.get(tenantId, run.runId),
      goOn: () => gates.at(tenantId).open(),
      finish: async () => {
        gates.at(tenantId).open()
        finished.add(tenantId)
        return on.ended(run)
      },
    }
  }
  const straight = async (on: TestRuntime, ...policies: PolicyInput[]) => {
    const { finish } = await underWay(on, ...policies)
    return finish()
  }
  const steps = (input: object = {}): PolicyInput => ({ name: 'p', metric: 'steps', max: 9_999, ...input })
  const told = ({ violations }: { violations: readonly Told[] }) =>
    violations.map(({ type, previousVersion, policyVersion }) => [type, previousVersion, policyVersion])
  type Told = { type: string; previousVersion: number | null; policyVersion: number | null }
  const blocked = {
    status: 'failed_policy',
    reason: 'BUDGET_EXCEEDED',
    incident: 'BLOCKED',
    evaluation: 'VIOLATION',
    trace: 'ABORTED',
    event: 'run.failed',
  }

  it('is ended before the step that would break a limit, with its whole footprint', async () => {
    const tenantId = await tenantWith(strict, steps({ max: 2 }))
    const ended = await strict.ended(await strict.runs.submit({ tenant: tenantId, agent: 'works', input: tenantId }))
    expect(endingOf(ended)).toMatchObject(blocked)
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(ended.steps.map(({ key, status }) => [key, status])).toEqual([
      ['ask#1', 'succeeded'],
      ['search#1', 'succeeded'],
    ])
    expect(ended.incident?.message).toBe('policy p: steps 2 and this step over 2')
    expect(ended.evaluation?.violations).toEqual([
      {
        type: 'BUDGET_EXCEEDED',
        message: 'policy p: steps 2 and this step over 2',
        currentValue: 2,
        limit: 2,
        policyId: 'p',
        policyVersion: 1,
        previousVersion: 1,
        decision: 'TERMINATE',
        at: expect.any(String),
      },
    ])
    await expect(strict.runs.result(tenantId, ended.runId)).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' })
    const simulated = async (max: number) => {
      const { changed } = await strict.concordat.policies.simulate(tenantId, [steps({ max })])
      return changed.map(({ before, after, statusAfter }) => [before, after.outcome, statusAfter])
    }
    expect(await simulated(2)).toEqual([])
    expect(await simulated(3)).toEqual([['VIOLATION', 'NO_VIOLATION', null]])
  })

  it.each([
    ['a tool that it names', 'step.tool == "search" && run.cost_usd > 0.2', ['ask#1']],
    ['one of several names', 'run.steps > 1 && step.name in ["wait", "other"]', ['ask#1', 'search#1']],
    ['what it is not', 'step.kind != "llm"', ['ask#1']],
  ])('is held against a condition on the next step between two checks: %s', async (_what, when, kept) => {
    const tenant = await tenantWith(runtime, { name: 'p', when })
    const ended = await runtime.ended(await runtime.runs.submit({ tenant, agent: 'works', input: tenant }))
    expect(endingOf(ended)).toMatchObject(blocked)
    expect(ended.steps.map(({ key }) => key)).toEqual(kept)
  })

  it('reads nothing for conditions on steps that do not come, and once for one that warns', async () => {
    read = []
    const never = { name: 'never', when: 'step.tool == "shell" || step.name in ["a", "b"]' }
    const warns: PolicyInput = { name: 'warns', when: 'step.name == "work"', effect: 'warn' }
    const ended = await straight(runtime, never, warns)
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', evaluation: 'ADVISORY' })
    expect(read.filter((statement) => statement === CHECK)).toHaveLength(2) // the first one reads the policies
  })

  it.each([
    ['cost, before it is spent', { name: 'p', metric: 'cost_usd', max: 0.2 }, undefined],
    ['tokens, before they are spent', { name: 'p', metric: 'tokens', max: 999 }, undefined],
    ['the tool that comes next', { name: 'p', when: 'step.tool == "search" && run.cost_usd > 0.2' }, 'ask#1'],
    ['a condition that fails', { name: 'p', when: 'run.steps > 1 && 1 / run.failed_steps > 1' }, 'search#1'],
  ] as [string, PolicyInput, string | undefined][])('is ended by %s', async (_what, policy, lastStep) => {
    const tenantId = await tenantWith(strict, policy)
    const ended = await strict.ended(await strict.runs.submit({ tenant: tenantId, agent: 'works', input: tenantId }))
    expect(endingOf(ended)).toMatchObject(blocked)
    expect(ended.steps.at(-1)?.key).toBe(lastStep)
  })

  it('is told what it was only warned of, once, and when it met it first', async () => {
    const ended = await straight(strict, steps({ max: 1, effect: 'warn' }))
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS', evaluation: 'ADVISORY' })
    expect(ended.evaluation?.violations).toMatchObject([
      { type: 'BUDGET_EXCEEDED', currentValue: 1, decision: 'CONTINUE' },
    ])
  })

  it('is read of together with others, in one query, and of one that starts nothing is read twice', async () => {
    const tenantId = await tenantWith(runtime, steps())
    const submit = () => runtime.runs.submit({ tenant: tenantId, agent: 'works', input: tenantId })
    const one = await submit()
    await gates.at(tenantId).reached
    const before = read.filter((statement) => statement === CHECK).length
    const more = await Promise.all(Array.from({ length: 5 }, submit))
    gates.at(tenantId).open()
    finished.add(tenantId)
    for (const run of [one, ...more]) expect((await runtime.ended(run)).status).toBe('succeeded')
    expect(read.filter((statement) => statement === CHECK)).toHaveLength(before)
  })

  describe('whose policy changes', () => {
    const nothing: PolicyInput[] = []
    const tight = steps({ max: 1 })
    const off = steps({ enabled: false })
    it.each([
      ['changed', 'live', [steps()], [tight], false, 'failed_policy', [['BUDGET_EXCEEDED', 1, 2]]],
      ['changed', 'pinned', [steps()], [tight], false, 'succeeded', []],
      ['disabled', 'live', [steps()], [off], false, 'succeeded', []],
      ['disabled', 'pinned', [steps()], [off], false, 'succeeded', []],
      ['deleted', 'live', [steps()], nothing, true, 'succeeded', []],
      ['deleted', 'pinned', [steps()], nothing, true, 'succeeded', []],
      ['new', 'live', nothing, [tight], false, 'failed_policy', [['BUDGET_EXCEEDED', null, 1]]],
      ['new', 'pinned', nothing, [tight], false, 'succeeded', []],
    ] as [string, string, PolicyInput[], PolicyInput[], boolean, string, unknown[]][])(
      '%s, %s: looked at before its next step, whatever the throttle says',
      async (_what, onChange, before, after, prune, status, violations) => {
        const modes = (list: PolicyInput[]) => list.map((each) => ({ ...each, onChange }) as PolicyInput)
        const { apply, goOn, finish, run } = await underWay(runtime, ...modes(before))
        const looked = read.length
        await apply(modes(after), prune)
        goOn()
        await until(
          async () => read.slice(looked),
          (seen) => seen.includes(CHECK),
        )
        const ended = status === 'succeeded' ? await finish() : await runtime.ended(run)
        expect(ended.status).toBe(status)
        expect(told(ended)).toEqual(violations)
        const pinned = onChange === 'pinned' && before.length > 0
        expect(ended.evaluation?.verdict.findings.map(({ version }) => version)).toEqual(
          pinned ? [1] : status === 'failed_policy' ? [before.length + 1] : [],
        )
      },
    )

    const resume = { by: 'ann', as: 'OPERATOR' } as const
    it.each([
      ['changed', [steps()], [tight], false, ['LIMIT_CHANGED', 1, 2]],
      ['disabled', [steps()], [off], false, ['POLICY_DISABLED', 1, 2]],
      ['deleted', [steps()], nothing, true, ['POLICY_DISABLED', 1, null]],
      ['new', nothing, [tight], false, ['LIMIT_CHANGED', null, 1]],
    ] as [string, PolicyInput[], PolicyInput[], boolean, unknown[]][])(
      '%s, pause: paused before its next step; resumed, it goes on under what is in force then',
      async (_what, before, after, prune, violation) => {
        const { apply, goOn, finish, report, run } = await underWay(runtime, ...before)
        await apply(after, prune)
        goOn()
        const paused = await until(report, ({ status }) => status === 'paused')
        expect(paused.pauses).toMatchObject([{ reason: 'POLICY_CHANGE', detail: { violations: [{ policyId: 'p' }] } }])
        expect(told(paused)).toEqual([violation])
        await runtime.runs.resume(run.tenantId, run.runId, resume)
        const goesOn = !after.includes(tight)
        const ended = goesOn ? await finish() : await runtime.ended(run)
        const after1 = goesOn ? { status: 'succeeded', evaluation: 'ADVISORY' } : blocked
        expect(endingOf(ended)).toMatchObject(after1)
        expect(told(ended)[0]).toEqual(violation)
        expect(ended.violations).toHaveLength(goesOn ? 1 : 2)
      },
    )

    it('in the process that executes it: known when that is applied, though the push of it is lost', async () => {
      const { apply, goOn, report, run } = await underWay(runtime)
      const lost = vi.spyOn(runtime.database, 'notify').mockResolvedValue()
      await apply([{ name: 'p', when: 'run.steps > 100' }])
      lost.mockRestore()
      goOn()
      const paused = await until(report, ({ status }) => status === 'paused')
      expect(paused.steps.map(({ key }) => key)).toEqual(['ask#1', 'search#1', 'wait#1'])
      await runtime.runs.stop(run.tenantId, run.runId)
    })

    it('by hand, in the database: found by the next heartbeat, though nobody pushed it', async () => {
      const { tenantId, goOn, run } = await underWay(runtime, steps({ onChange: 'live' }))
      await runtime.database.query(
        `update concordat.policies set definition = jsonb_set(definition, '{max}', '1') where tenant_id = $1`,
        [tenantId],
      )
      goOn()
      expect(endingOf(await runtime.ended(run))).toMatchObject(blocked)
    })

    it('is announced with what changed, by an event of the tenant', async () => {
      const tenantId = await tenantWith(runtime, steps())
      await runtime.concordat.policies.apply(tenantId, [steps()])
      await runtime.concordat.policies.apply(tenantId, [tight])
      const rows = await runtime.database.query<{ events: string }>(
        'select events from concordat.outbox where tenant_id = $1 order by outbox_id',
        [tenantId],
      )
      const changes = rows.flatMap(({ events }) => JSON.parse(events)).map(({ type, data }) => [type, data.changes])
      expect(changes).toEqual([
        ['policy.changed', [{ name: 'p', change: 'created', version: 1, previousVersion: null }]],
        ['policy.changed', [{ name: 'p', change: 'changed', version: 2, previousVersion: 1 }]],
      ])
    })
  })

  it('under OBSERVE_ONLY goes on and succeeds; what stood against it is kept, also what it breaks at its end', async () => {
    const ended = await straight(observed, steps({ max: 1 }), { name: 'cost', metric: 'cost_usd', max: 0 })
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS', evaluation: 'ADVISORY' })
    expect(ended.violations).toMatchObject([
      { policyId: 'cost', decision: 'TERMINATE' },
      { policyId: 'p', decision: 'TERMINATE' },
    ])
  })

  it('without the flag: nothing is read or kept; the policies in force at the end decide', async () => {
    const config = { ...everyStep, governanceProfile: undefined, midExecutionPolicyCheckEnabled: false }
    const unchecked = await open({ agents: [works], config })
    const sent: string[] = []
    unchecked.database.intercept(({ statement }) => void sent.push(statement))
    const { apply, finish, tenantId } = await underWay(unchecked, steps())
    await apply([steps({ max: 1 })])
    expect(endingOf(await finish())).toMatchObject({ status: 'failed_policy', reason: 'POLICY_VIOLATION' })
    const stopped = await unchecked.runs.submit({ tenant: tenantId, agent: 'works', input: `${tenantId} again` })
    await gates.at(`${tenantId} again`).reached
    await unchecked.runs.stop(tenantId, stopped.runId, { by: 'ann', why: 'enough' })
    expect(endingOf(await unchecked.ended(stopped))).toMatchObject({ status: 'cancelled' })
    expect(sent.filter((statement) => statement === CHECK || statement === 'policy_violations_insert')).toEqual([])
  })

  it('is paused by a limit that says so, again and again until the limit is raised', async () => {
    const { apply, goOn, finish, report, run } = await underWay(
      strict,
      steps({ max: 3, effect: 'pause', onChange: 'live' }),
    )
    goOn()
    const paused = await until(report, ({ status }) => status === 'paused')
    expect(paused.pauses).toMatchObject([
      { reason: 'BUDGET_WARNING', message: 'policy p: steps 3 and this step over 3' },
    ])
    await strict.runs.resume(run.tenantId, run.runId, { by: 'ann', as: 'OPERATOR' })
    await until(report, ({ status, pauses }) => status === 'paused' && pauses.length === 2)
    await apply([steps({ effect: 'pause', onChange: 'live' })])
    await strict.runs.resume(run.tenantId, run.runId, { by: 'ann', as: 'OPERATOR' })
    expect(endingOf(await finish())).toMatchObject({ status: 'succeeded', evaluation: 'ADVISORY' })
  })

  it('is paused by its worker’s successor as it would have been by the worker that was lost', async () => {
    const { apply, report, run, tenantId } = await underWay(runtime, steps())
    const { workerId } = await report()
    await apply([steps({ max: 1 })])
    await runtime.database.query('update concordat.workers set expires_at = now() where worker_id = $1', [workerId])
    const paused = await until(report, ({ status }) => status === 'paused')
    expect(paused.workerLosses).toBe(1)
    expect(told(paused)).toEqual([['LIMIT_CHANGED', 1, 2]])
    await runtime.runs.stop(tenantId, run.runId)
  })

  it('whose check fails goes on, where POLICY_CHECK_ON_ERROR says so, and it is counted', async () => {
    const agree = observed.database.intercept(({ statement }) => {
      if (statement === CHECK) throw new Error('no such column')
    })
    const ended = await straight(observed, steps())
    agree()
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', evaluation: 'NO_VIOLATION' })
    expect(await observed.concordat.metrics.text()).toMatch(/concordat_policy_checks_total\{decision="CONTINUE"\} \d/)
    expect(await observed.concordat.metrics.text()).toMatch(/concordat_policy_check_errors_total [1-9]/)
  })

  it('whose check fails pauses, where it says that, and goes on once the database answers', async () => {
    const agree = strict.database.intercept(({ statement }) => {
      if (statement === CHECK) throw new Error('no such column')
    })
    const tenantId = await tenantWith(strict, steps())
    const run = await strict.runs.submit({ tenant: tenantId, agent: 'works', input: tenantId })
    const report = () => strict.runs.get(tenantId, run.runId)
    const { pauses } = await until(report, ({ status }) => status === 'paused')
    expect(pauses).toMatchObject([{ reason: 'POLICY_CHANGE', message: 'the check failed: no such column' }])
    agree()
    await strict.runs.resume(tenantId, run.runId, { by: 'ann', as: 'OPERATOR' })
    gates.at(tenantId).open()
    finished.add(tenantId)
    expect((await strict.ended(run)).status).toBe('succeeded')
  })
})
