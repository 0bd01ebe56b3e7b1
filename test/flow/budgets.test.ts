import { beforeAll, describe, expect, it } from 'vitest'
import { pruneLedger, releaseReservations } from '../../src/domains/budgets/budgets.ts'
import { AppError } from '../../src/foundation/app-error.ts'
import { defineAgent, type PolicyInput, type StepOptions } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { checkLedger } from '../torture/ledger-promises.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { meteredModel } from './support/metered-model.ts'
import { until } from './support/until.ts'

let gates = new Gates()

/** Steps that happened elsewhere, each with what it cost and ten tokens. */
const spends = defineAgent<readonly number[]>({
  name: 'spends',
  version: '1',
  async run({ input, step }) {
    for (const costUsd of input) {
      await step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', costUsd, tokensIn: 10 })
    }
    return input.length
  },
})

interface Ask {
  readonly gate?: string
  /** What the model does at its gate when it is told to abort. */
  readonly ignores?: boolean
  readonly model?: string
  readonly tokensOut?: number
  readonly maxOutputTokens?: number
  /** Short steps after it. */
  readonly more?: number
  readonly options?: Pick<StepOptions, 'maxCostUsd' | 'maxTokens' | 'timeoutMs'>
}

/** One call of a model: by its price list, a million tokens out cost ten dollars. */
const asks = defineAgent<Ask>({
  name: 'asks',
  version: '1',
  async run({ input, step }) {
    const { gate, ignores, model: name = 'gpt-4o', tokensOut = 100, maxOutputTokens, more = 1, options } = input
    const model = meteredModel(name, { tokensIn: 0, tokensOut }, async (signal) => {
      if (gate) await gates.at(gate).pass(ignores ? undefined : signal)
    })
    const request = { model, prompt: '', ...(maxOutputTokens && { maxOutputTokens }) }
    await step.llm('ask', request, { retry: { maxAttempts: 1 }, ...options })
    const tick = () => new Promise((resolve) => setTimeout(resolve, 20))
    for (let i = 0; i < more; i++) await step.do('after', more > 1 ? tick : () => null, { sideEffects: false })
  },
})

const sleeps = defineAgent<readonly number[]>({
  name: 'sleeps',
  version: '1',
  async run({ input, step }) {
    for (const ms of input) await step.sleep('nap', ms)
  },
})

const agents = [spends, asks, sleeps]

/** A minute that ends in the middle of a test is another one. */
const untilMidMinute = () => {
  const leftMs = 60_000 - (Date.now() % 60_000)
  return new Promise((resolve) => setTimeout(resolve, leftMs < 8_000 ? leftMs : 0))
}
/** The same one for all that ask. */
const once = <T>(make: () => Promise<T>) => {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
const DAY = { scope: 'tenant', window: 'day' } as const

describeOnDatabases('a budget', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents })
  })

  let tenants = 0
  const tenantWith = async (policies: readonly PolicyInput[], on = runtime) => {
    const tenant = `budgets-${++tenants}`
    await on.concordat.tenants.put({ tenantId: tenant })
    await on.concordat.policies.apply(tenant, policies)
    return tenant
  }
  const spend = (tenant: string, costs: readonly number[], on = runtime) => {
    return on.runs.submit({ tenant, agent: 'spends', input: [...costs] })
  }
  const spent = async (tenant: string, ...costs: number[]) => runtime.ended(await spend(tenant, costs))
  const ask = (tenant: string, input: Ask = {}) => runtime.runs.submit({ tenant, agent: 'asks', input: { ...input } })
  const ledger = (tenant: string, on = runtime) =>
    on.database.query<{ subject: string; settled: number; reserved: number; overrun: number; estimated: number }>(
      `select subject, metric, settled::float8, reserved::float8, overrun::float8, estimated::float8,
              unrecorded::float8, uncosted
         from concordat.budgets where tenant_id = $1 order by metric, subject`,
      [tenant],
    )
  const thresholds = async (...runs: RunRef[]) => {
    const reports = await Promise.all(runs.map(({ tenantId, runId }) => runtime.runs.get(tenantId, runId)))
    return reports.flatMap(({ events }) => events.filter(({ type }) => type === 'threshold.exceeded'))
  }
  const blocked = { status: 'failed_policy', reason: 'BUDGET_EXCEEDED', incident: 'BLOCKED', evaluation: 'VIOLATION' }

  it('of a run ends it before the step that would break it, with all that goes with that', async () => {
    const tenant = await tenantWith([{ name: 'cost', metric: 'cost_usd', max: 0.25 }])
    const ended = await spent(tenant, 0.1, 0.1, 0.1)
    expect(endingOf(ended)).toMatchObject(blocked)
    expect(ended.steps.map(({ key }) => key)).toEqual(['ask#1', 'ask#2'])
    expect(ended.error).toMatchObject({ message: 'policy cost: cost_usd 0.2 and 0.1 for this step over 0.25' })
    expect(ended.evaluation?.violations).toMatchObject([{ policyId: 'cost', currentValue: 0.2, limit: 0.25 }])
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.2e9, reserved: 0, overrun: 0 }])
    expect(await spent(tenant, 0.1, 0.15)).toMatchObject({ status: 'succeeded' })
  })

  it('of a tenant is shared by its runs, to the last cent, and its thresholds are told once', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    const runs = await Promise.all(Array.from({ length: 10 }, () => spend(tenant, [0.1, 0.1, 0.1])))
    const ended = await Promise.all(runs.map((each) => runtime.ended(each)))
    expect(ended.flatMap(({ steps }) => steps)).toHaveLength(10)
    expect(await ledger(tenant)).toMatchObject([{ subject: 'tenant', settled: 1e9, reserved: 0 }])
    const told = (await thresholds(...runs)).map(({ data }) => data)
    expect(told).toHaveLength(3)
    expect(told).toContainEqual(expect.objectContaining({ policy: 'day', threshold: 95, subject: 'tenant', limit: 1 }))
    expect(await checkLedger(runtime.database)).toEqual([])
  })

  it('of a period is in the verdict of a run as its last step saw it', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    await spent(tenant, 0.3)
    const { evaluation } = await spent(tenant, 0.2, 0.1)
    expect(evaluation?.verdict).toMatchObject({ outcome: 'NO_VIOLATION', findings: [{ met: true, value: 0.6 }] })
  })

  it('nests: a step is counted for its run, its agent and its tenant, or for none', async () => {
    const tenant = await tenantWith([
      { name: 'run', metric: 'tokens', max: 40 },
      { name: 'agent', metric: 'tokens', max: 1_000, scope: 'agent', window: 'hour' },
      { name: 'tenant', metric: 'tokens', max: 25, ...DAY },
      { name: 'steps', metric: 'steps', max: 1_000, scope: 'agent', window: 'month' },
    ])
    const run = await spent(tenant, 0.1, 0.1, 0.1)
    expect(run).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect((await ledger(tenant)).map(({ subject, settled, reserved }) => [subject, settled, reserved])).toEqual([
      ['agent/spends', 2, 0],
      ['agent/spends', 20, 0],
      [`run/${run.runId}`, 20, 0],
      ['tenant', 20, 0],
    ])
  })

  it('makes a step wait for what others have reserved and may not use, without a slot', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'tokens', max: 1_000, ...DAY }])
    const first = await ask(tenant, { gate: `${tenant}-1`, maxOutputTokens: 700 })
    await gates.at(`${tenant}-1`).reached
    const second = await ask(tenant, { maxOutputTokens: 700 })
    await until(
      () => runtime.runs.get(tenant, second.runId),
      ({ waiting }) => waiting === 'RETRY',
    )
    gates.at(`${tenant}-1`).open()
    expect(await runtime.ended(first)).toMatchObject({ status: 'succeeded' })
    expect(await runtime.ended(second)).toMatchObject({ status: 'succeeded' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 200, reserved: 0, overrun: 0 }])
  })

  it('reserves the next step in the flush that records the one before', async () => {
    const tenant = await tenantWith([{ name: 'cost', metric: 'cost_usd', max: 9, ...DAY }])
    const sent: string[] = []
    const remove = runtime.database.intercept(({ statement }) => void sent.push(statement))
    await spent(tenant, 0.1, 0.1, 0.1, 0.1, 0.1)
    remove()
    const times = (name: string) => sent.filter((statement) => statement === name).length
    expect(times('budgets_hold_leases')).toBe(1)
    expect(times('budgets_write')).toBe(6)
    expect(times('reservations_write')).toBe(1)
  })

  it('of a run alone is kept without a row of the ledger until half of it is used, and told of then', async () => {
    const tenant = await tenantWith([
      { name: 'cost', metric: 'cost_usd', max: 1 },
      { name: 'tokens', metric: 'tokens', max: 999 },
    ])
    const sent: string[] = []
    const remove = runtime.database.intercept(({ statement }) => void sent.push(statement))
    await spent(tenant, 0.1, 0.1, 0.1, 0.1)
    remove()
    expect(sent.filter((statement) => /^(budgets|reservations)_/.test(statement))).toEqual([])
    expect(await ledger(tenant)).toEqual([])
    const run = await spent(tenant, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    expect(run).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await ledger(tenant)).toMatchObject([{ subject: `run/${run.runId}`, settled: 1e9, reserved: 0 }])
    const told = (await thresholds(run)).map(({ data }) => data)
    expect(told).toMatchObject([50, 80, 95].map((threshold) => ({ policy: 'cost', threshold })))
  })

  it('of a run alone counts what an aborted step may have used, though it is far from its limit', async () => {
    const tenant = await tenantWith([{ name: 'tokens', metric: 'tokens', max: 9_000 }])
    const run = await ask(tenant, { gate: tenant, ignores: true, maxOutputTokens: 200, options: { timeoutMs: 40 } })
    await gates.at(tenant).reached
    const row = { subject: `run/${run.runId}` }
    const settled = (amount: number) =>
      until(
        () => ledger(tenant),
        ([first]) => first?.settled === amount,
      )
    expect(await settled(216)).toMatchObject([{ ...row, estimated: 216 }])
    gates.at(tenant).open()
    expect(await settled(100)).toMatchObject([{ ...row, estimated: 0, unrecorded: 100 }])
    await runtime.ended(run)
  })

  it('costs a tenant without one nothing', async () => {
    const tenant = await tenantWith([{ name: 'long', metric: 'wall_clock_seconds', max: 9_999 }])
    const sent: string[] = []
    const remove = runtime.database.intercept(({ statement }) => void sent.push(statement))
    await spent(tenant, 0.1, 0.1)
    remove()
    expect(sent.filter((statement) => /^(budgets|reservations)_/.test(statement))).toEqual([])
  })

  it('that only warns lets its run go on, with an advisory', async () => {
    const tenant = await tenantWith([{ name: 'soft', metric: 'cost_usd', max: 0.1, effect: 'warn', ...DAY }])
    const ended = await spent(tenant, 0.1, 0.1)
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', evaluation: 'ADVISORY' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.2e9 }])
  })

  describe('whose limit asks for an approval', () => {
    const asking: PolicyInput = { name: 'day', metric: 'tokens', max: 500, effect: 'require_approval', ...DAY }
    const admin = { by: 'ada', as: 'TENANT_ADMIN' } as const
    /** A run that needs 416 tokens where 200 are left, approved, and held in the middle of that. */
    const approved = async () => {
      const tenant = await tenantWith([asking])
      await runtime.ended(await ask(tenant, { maxOutputTokens: 284, tokensOut: 300 }))
      const run = await ask(tenant, { gate: tenant, maxOutputTokens: 400, tokensOut: 350 })
      const { approvals } = await until(
        () => runtime.runs.get(tenant, run.runId),
        ({ status }) => status === 'paused',
      )
      await runtime.concordat.approvals.decide(tenant, approvals[0]?.approvalId ?? '', {
        ...admin,
        decision: 'approved',
      })
      await gates.at(tenant).reached
      return { tenant, run }
    }

    it('and that is broken already asks nobody for a step that another limit ends', async () => {
      const soft: PolicyInput = { name: 'soft', metric: 'cost_usd', max: 0.2, effect: 'require_approval', ...DAY }
      const tenant = await tenantWith([soft, { name: 'hard', metric: 'cost_usd', max: 0.3 }])
      const run = await spend(tenant, [0.1, 0.1, 0.1, 0.1])
      const { approvals } = await until(
        () => runtime.runs.get(tenant, run.runId),
        ({ status }) => status === 'paused',
      )
      const decision = { ...admin, decision: 'approved' } as const
      await runtime.concordat.approvals.decide(tenant, approvals[0]?.approvalId ?? '', decision)
      const ended = await runtime.ended(run)
      expect(endingOf(ended)).toMatchObject(blocked)
      expect([ended.steps.length, ended.approvals.length]).toEqual([3, 1])
    })

    it('reserves what is approved beyond it, so that others see the room taken, and says who approved', async () => {
      const { tenant, run } = await approved()
      expect(await ledger(tenant)).toMatchObject([{ settled: 300, reserved: 416, overrun: 416 }])
      const { budgets } = await runtime.runs.get(tenant, run.runId)
      const used = { used: 300, reserved: 416, held: 416, overrun: 416, estimated: 0 }
      expect(budgets).toEqual([
        { subject: 'tenant', metric: 'tokens', window: 'day', since: expect.any(Date), ...used },
      ])
      const other = await ask(tenant, { maxOutputTokens: 100, more: 0 })
      await until(
        () => runtime.runs.get(tenant, other.runId),
        ({ waiting }) => waiting === 'RETRY',
      )
      await runtime.runs.stop(tenant, other.runId)
      expect(await checkLedger(runtime.database)).toEqual([])
      gates.at(tenant).open()
      const { steps } = await until(
        () => runtime.runs.get(tenant, run.runId),
        ({ steps }) => steps[0]?.status === 'succeeded',
      )
      const overrun = { 'concordat.overrun.tokens': 350, 'concordat.overrun.approved_by': 'ada' }
      expect(steps[0]?.attributes).toMatchObject(overrun)
      expect(await ledger(tenant)).toMatchObject([{ settled: 650, reserved: 0, overrun: 350 }])
    })

    it('gives that back, and the overrun, when the worker is lost', async () => {
      const { tenant, run } = await approved()
      await runtime.database.transaction((tx) => releaseReservations(tx, [run], 'not executed'))
      expect(await ledger(tenant)).toMatchObject([{ settled: 300, reserved: 0, overrun: 0 }])
      gates.at(tenant).open()
      await until(
        () => ledger(tenant),
        ([row]) => row?.settled === 650,
      )
      expect(await ledger(tenant)).toMatchObject([{ reserved: 0, overrun: 350 }])
    })
  })

  it('follows its policy: a limit that is raised live lets the next step run', async () => {
    const limit = (max: number): PolicyInput => ({ name: 'day', metric: 'tokens', max, onChange: 'live', ...DAY })
    const tenant = await tenantWith([limit(500)])
    const first = await ask(tenant, { gate: tenant, maxOutputTokens: 300 })
    await gates.at(tenant).reached
    await runtime.concordat.policies.apply(tenant, [limit(9_000)])
    gates.at(tenant).open()
    expect(await runtime.ended(first)).toMatchObject({ status: 'succeeded' })
    expect(await runtime.ended(await ask(tenant, { maxOutputTokens: 8_000 }))).toMatchObject({ status: 'succeeded' })
  })

  it('that pauses keeps what is done; a resume grants nothing until the limit is raised', async () => {
    const limit = (max: number): PolicyInput => ({
      name: 'run',
      metric: 'cost_usd',
      max,
      effect: 'pause',
      onChange: 'live',
    })
    const tenant = await tenantWith([limit(0.25)])
    const run = await spend(tenant, [0.1, 0.1, 0.1])
    const paused = (times: number) =>
      until(
        () => runtime.runs.get(tenant, run.runId),
        ({ status, events }) =>
          status === 'paused' && events.filter(({ type }) => type === 'run.paused').length === times,
      )
    const resume = () => runtime.runs.resume(tenant, run.runId, { by: 'ada', as: 'TENANT_ADMIN' })
    expect((await paused(1)).steps).toHaveLength(2)
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.2e9, reserved: 0 }])
    await resume()
    await paused(2)
    await runtime.concordat.policies.apply(tenant, [limit(0.3)])
    await resume()
    expect(await runtime.ended(run)).toMatchObject({ status: 'succeeded' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.3e9, reserved: 0 }])
  })

  it.each(['minute', 'hour', 'day', 'month'] as const)(
    'of a %s has room again when the next one begins',
    async (window) => {
      const tenant = await tenantWith([{ name: 'tokens', metric: 'tokens', max: 20, scope: 'tenant', window }])
      if (window === 'minute') await untilMidMinute()
      expect(await spent(tenant, 0.1, 0.1)).toMatchObject({ status: 'succeeded' })
      expect(await spent(tenant, 0.1)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
      const moved = await runtime.database.query(
        `update concordat.budgets set period_start = period_start - $2::interval
        where tenant_id = $1 and period_start = date_trunc($3, clock_timestamp() at time zone 'UTC') at time zone 'UTC'
       returning 1`,
        [tenant, `1 ${window}`, window],
      )
      expect(moved).toHaveLength(1) // by the calendar in UTC, by the database's clock
      expect(await spent(tenant, 0.1, 0.1)).toMatchObject({ status: 'succeeded' })
      expect((await ledger(tenant)).map(({ settled, reserved }) => [settled, reserved])).toEqual([
        [20, 0],
        [20, 0],
      ])
    },
  )

  it('of requests pauses its run until the minute has room, and nobody needs to resume it', async () => {
    const rate = { name: 'rate', metric: 'requests_per_minute', max: 2, scope: 'tenant' } as const
    const tenant = await tenantWith([rate])
    await untilMidMinute()
    const run = await spend(tenant, [0.1, 0.1, 0.1])
    const { pauses } = await until(
      () => runtime.runs.get(tenant, run.runId),
      ({ status }) => status === 'paused',
    )
    const [pause] = pauses
    const resumeAt = new Date(pause?.resumeAt ?? 0)
    expect([pause?.reason, resumeAt.getTime() % 60_000]).toEqual(['RATE_LIMIT_SOFT', 0])
    expect(resumeAt.getTime() - Date.now()).toBeGreaterThan(0)
    expect(await ledger(tenant)).toMatchObject([{ settled: 2, reserved: 0 }])
    expect(await thresholds(run)).toEqual([])
  })

  it('counts what a run has used already when a limit comes into force while it runs', async () => {
    const tenant = await tenantWith([])
    const run = await ask(tenant, { gate: tenant, tokensOut: 400, more: 500 })
    await gates.at(tenant).reached
    await runtime.concordat.policies.apply(tenant, [{ name: 'run', metric: 'tokens', max: 300, onChange: 'live' }])
    gates.at(tenant).open()
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
  })

  it('counts a sleep as one step, and holds nothing while it lasts', async () => {
    const tenant = await tenantWith([{ name: 'steps', metric: 'steps', max: 2 }])
    const run = await runtime.runs.submit({ tenant, agent: 'sleeps', input: [20, 20, 20] })
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 2, reserved: 0, overrun: 0 }])
  })

  it('knows a step that uses more than it declared: an overrun, and a violation', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 5, ...DAY }])
    const ended = await runtime.ended(await ask(tenant, { tokensOut: 2_000, options: { maxCostUsd: 0.015 } }))
    expect(endingOf(ended)).toMatchObject(blocked)
    expect(ended.steps.map(({ key, costUsd }) => [key, costUsd])).toEqual([['ask#1', 0.02]])
    expect(ended.steps[0]?.attributes).toMatchObject({ 'concordat.overrun.cost_usd': 0.005 })
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.02e9, overrun: 0.005e9, reserved: 0 }])

    const last = await ask(tenant, { tokensOut: 2_000, options: { maxCostUsd: 0.015 }, more: 0 })
    const overrun = { ...blocked, reason: 'POLICY_VIOLATION' }
    expect(endingOf(await runtime.ended(last))).toMatchObject(overrun)
  })

  it('lets a step use more than was estimated, as an overrun, and ends the run only where that breaks a limit', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'tokens', max: 500, ...DAY }])
    const more = { maxOutputTokens: 10, tokensOut: 300 }
    expect(await runtime.ended(await ask(tenant, more))).toMatchObject({ status: 'succeeded' })
    expect(endingOf(await runtime.ended(await ask(tenant, more)))).toMatchObject(blocked)
    expect((await ledger(tenant))[0]).toMatchObject({ settled: 600, reserved: 0 })
  })

  it('knows what has no price: uncosted, which is not free', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    expect(await runtime.ended(await ask(tenant, { model: 'nobody knows' }))).toMatchObject({ status: 'succeeded' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 0, uncosted: 1 }])
    await runtime.ended(await ask(tenant, { model: 'nobody knows', options: { maxCostUsd: 0.3 } }))
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.3e9, estimated: 0.3e9 }])
  })

  it('settles the reservation of a stopped step in full, as estimated', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    const run = await ask(tenant, { gate: tenant, options: { maxCostUsd: 0.4 } })
    await gates.at(tenant).reached
    expect(await ledger(tenant)).toMatchObject([{ settled: 0, reserved: 0.4e9 }])
    await runtime.runs.stop(tenant, run.runId, { by: 'ada', why: 'enough' })
    expect(await runtime.ended(run)).toMatchObject({ status: 'cancelled' })
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.4e9, estimated: 0.4e9, reserved: 0 }])
  })

  it('takes what an aborted step has used in place of the estimate, though its run has ended', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    const options = { maxCostUsd: 0.4, timeoutMs: 50 }
    const ended = await runtime.ended(await ask(tenant, { gate: tenant, ignores: true, tokensOut: 10_000, options }))
    expect(ended.reason).toBe('STEP_TIMEOUT')
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.4e9, estimated: 0.4e9, reserved: 0 }])
    gates.at(tenant).open()
    await until(
      () => ledger(tenant),
      ([row]) => row?.estimated === 0,
    )
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.1e9, unrecorded: 0.1e9, reserved: 0, overrun: 0 }])
  })

  it('settles a step once, though the reply to the commit was lost', async () => {
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }])
    let lost = 0
    const remove = runtime.database.intercept(({ statement, before }) => {
      if (statement !== 'committed' || !before.includes('budgets_write') || lost >= 3) return
      lost++
      throw new AppError('DATABASE_UNREACHABLE', 'the reply was lost')
    })
    const ended = await spent(tenant, 0.1, 0.1, 0.1)
    remove()
    expect([ended.status, lost]).toEqual(['succeeded', 3])
    expect(await ledger(tenant)).toMatchObject([{ settled: 0.3e9, reserved: 0, overrun: 0 }])
  })

  const lenient = once(() => open({ agents, config: { governanceProfile: 'STANDARD' } }))

  it('is made up for what was spent while nobody could read the policies', async () => {
    const on = await lenient()
    const policies: PolicyInput[] = [
      { name: 'day', metric: 'cost_usd', max: 1, ...DAY },
      { name: 'run', metric: 'cost_usd', max: 1 },
    ]
    const tenant = await tenantWith(policies, on)
    let refused = 0
    const remove = on.database.intercept(({ statement }) => {
      if (statement === 'policy_check_facts' && refused++ < 2) throw new AppError('DATABASE_ERROR', 'no')
    })
    const run = await on.ended(await spend(tenant, [0.1, 0.2, 0.3, 0.3], on))
    remove()
    expect([run.status, refused]).toEqual(['succeeded', 3])
    const rows = await ledger(tenant, on)
    expect(rows.map(({ subject, settled, reserved }) => [subject, settled, reserved])).toEqual([
      [`run/${run.runId}`, 0.9e9, 0],
      ['tenant', 0.9e9, 0],
    ])
  })

  it('settles what was spent though the step’s trace could not be written', async () => {
    const on = await lenient()
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 1, ...DAY }], on)
    const remove = on.database.intercept(({ statement, before }) => {
      if (statement === 'steps_insert' && !before.includes('gap')) {
        remove()
        throw new AppError('DATABASE_ERROR', 'no room for a trace')
      }
    })
    expect(await on.ended(await spend(tenant, [0.1], on))).toMatchObject({ observability: 'DEGRADED' })
    expect(await ledger(tenant, on)).toMatchObject([{ settled: 0.1e9, unrecorded: 0.1e9, reserved: 0 }])
  })

  it('is only counted under OBSERVE_ONLY', async () => {
    const watched = await open({ agents, config: { governanceProfile: 'OBSERVE_ONLY' } })
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 0.1, ...DAY }], watched)
    const ended = await watched.ended(await spend(tenant, [0.1, 0.1], watched))
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', evaluation: 'ADVISORY' })
    expect(await ledger(tenant, watched)).toMatchObject([{ settled: 0.2e9, reserved: 0 }])
  })

  it('forgets minutes and hours that are long past, unless something is reserved of them', async () => {
    const tenant = await tenantWith([])
    const rows = [
      ['minute', '25 hours', 0],
      ['minute', '23 hours', 0],
      ['minute', '26 hours', 1],
      ['hour', '32 days', 0],
      ['hour', '30 days', 0],
      ['day', '400 days', 0],
    ]
    for (const [period, age, reserved] of rows) {
      await runtime.database.query(
        `insert into concordat.budgets (tenant_id, subject, metric, period, period_start, reserved)
         values ($1, $2, 'tokens', $3, now() - $2::text::interval, $4)`,
        [tenant, age, period, reserved],
      )
    }
    while ((await pruneLedger(runtime.database)) > 0);
    expect((await ledger(tenant)).map(({ subject }) => subject)).toEqual([
      '23 hours',
      '26 hours',
      '30 days',
      '400 days',
    ])
    await runtime.database.query('delete from concordat.budgets where tenant_id = $1', [tenant])
  })

  it('shows the runs under way that have come half way to a limit of runs, those that use most first', async () => {
    const tenant = await tenantWith([
      { name: 'run', metric: 'tokens', max: 1_000 },
      { name: 'of-agent', metric: 'tokens', max: 2_000, agent: 'spends' },
    ])
    const [small, large] = [500, 600].map((maxOutputTokens, i) => ({ gate: `${tenant}-${i}`, maxOutputTokens }))
    const runs = [await ask(tenant, small), await ask(tenant, large), await spend(tenant, [0.1])] // the last: 10 tokens
    await Promise.all([0, 1].map((i) => gates.at(`${tenant}-${i}`).reached))
    await runtime.ended(runs[2]!)
    const usage = await runtime.concordat.policies.usage(tenant, { top: 2 })
    expect(usage.map(({ policy, subject, reserved, share }) => [policy, subject, reserved, share])).toEqual([
      ['of-agent', null, 0, 0],
      ['run', `run/${runs[1]?.runId}`, 616, 0.616],
      ['run', `run/${runs[0]?.runId}`, 516, 0.516],
    ])
    for (const i of [0, 1]) gates.at(`${tenant}-${i}`).open()
    await Promise.all(runs.map((run) => runtime.ended(run)))
  })

  it('is not touched with the check off', async () => {
    const off = await open({ agents, config: { governanceProfile: undefined } })
    const tenant = await tenantWith([{ name: 'day', metric: 'cost_usd', max: 0.1, ...DAY }], off)
    expect(await off.ended(await spend(tenant, [0.1, 0.1], off))).toMatchObject({ status: 'succeeded' })
    expect(await ledger(tenant, off)).toEqual([])
  })
})
