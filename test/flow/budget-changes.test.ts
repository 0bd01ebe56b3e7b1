import { beforeAll, describe, expect, it, vi } from 'vitest'
import { defineAgent, type PolicyInput } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { checkLedger, checkLedgerAtTheEnd, checkSettled } from '../torture/ledger-promises.ts'
import { describeOnDatabases } from './support/databases.ts'
import { Gates } from './support/gate.ts'
import { meteredModel } from './support/metered-model.ts'
import { until } from './support/until.ts'

let gates = new Gates()

/** Model calls one after the other: of so many tokens, or held at a gate and using a hundred of what it may use. */
type Call = number | { readonly gate: string; readonly mayUse: number }

const calls = defineAgent<readonly (Call | readonly Call[])[]>({
  name: 'calls',
  version: '1',
  async run({ input, step }) {
    const call = (each: Call) => {
      if (typeof each === 'number') {
        return step.record({ kind: 'llm', name: 'past', input: '', output: '', tokensIn: each, costUsd: 0 })
      }
      const { gate, mayUse } = each
      const model = meteredModel('gpt-4o', { tokensIn: 0, tokensOut: 100 }, (signal) => gates.at(gate).pass(signal))
      return step.llm('held', { model, prompt: '' }, { maxTokens: mayUse, retry: { maxAttempts: 1 } })
    }
    for (const each of input) await Promise.all(([each].flat() as Call[]).map(call))
  },
})

/** Ends without another step, some while after its last one: its code waits, or a signal is waited for. */
const lingers = defineAgent<'by itself' | 'for a signal'>({
  name: 'lingers',
  version: '1',
  async run({ input, step, run }) {
    await step.record({ kind: 'llm', name: 'past', input: '', output: '', tokensIn: 70, costUsd: 0 })
    if (input === 'for a signal') await step.waitFor('go')
    else await gates.at(run.tenantId).pass()
  },
})

/** Its first call is a child's. */
const starts = defineAgent<readonly Call[]>({
  name: 'starts',
  version: '1',
  async run({ input: [first, ...others], step }) {
    await step.run('calls', JSON.parse(JSON.stringify([first])))
    for (const tokensIn of others as number[]) {
      await step.record({ kind: 'llm', name: 'past', input: '', output: '', tokensIn, costUsd: 0 })
    }
  },
})

describeOnDatabases('a budget that comes into force while runs are under way', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents: [calls, starts, lingers] })
  })

  let tenants = 0
  const newTenant = async () => {
    const tenant = `changes-${++tenants}`
    await runtime.concordat.tenants.put({ tenantId: tenant })
    return tenant
  }
  const submit = (tenant: string, input: readonly (Call | readonly Call[])[], agent = 'calls', apiKeyId?: string) =>
    runtime.runs.submit({ tenant, agent, input: JSON.parse(JSON.stringify(input)), apiKeyId })
  const tokens = (max: number, more: object = {}): PolicyInput => {
    return { name: 'tokens', metric: 'tokens', max, scope: 'tenant', window: 'day', onChange: 'live', ...more }
  }
  const apply = (tenant: string, ...policies: PolicyInput[]) =>
    runtime.concordat.policies.apply(tenant, policies, { prune: true })
  const row = async (tenantId: string, subject = 'tenant') => {
    const [found] = await runtime.database.query<{ settled: number; reserved: number; overrun: number }>(
      `select settled::int, reserved::int, overrun::int from concordat.budgets where tenant_id = $1 and subject = $2`,
      [tenantId, subject],
    )
    return found
  }
  const rowIs = (tenant: string, settled: number, reserved: number, subject = 'tenant') =>
    until(
      () => row(tenant, subject),
      (seen) => seen?.settled === settled && seen.reserved === reserved,
    )
  const standing = (run: RunRef, status: string, times = 1) =>
    until(
      () => runtime.runs.get(run.tenantId, run.runId),
      (report) => report.status === status && report.pauses.length === times,
    )
  const waitsForRoom = (run: RunRef) =>
    until(
      () => runtime.runs.get(run.tenantId, run.runId),
      ({ waiting }) => waiting === 'RETRY',
    )
  const allKept = async () => [
    ...(await checkLedger(runtime.database)),
    ...(await checkLedgerAtTheEnd(runtime.database)),
    ...(await checkSettled(runtime.database)),
  ]
  const admin = { by: 'ada', as: 'TENANT_ADMIN' } as const

  for (const onChange of ['live', 'pause'] as const) {
    it(`has what a step under way may use reserved, and what its run has used, also with onChange ${onChange}`, async () => {
      const tenant = await newTenant()
      const gate = { gate: tenant, mayUse: 300 }
      const first = await submit(tenant, [20, 30, gate])
      await gates.at(tenant).reached
      await apply(tenant, tokens(500, { onChange }))
      expect(await rowIs(tenant, 50, 300)).toMatchObject({ overrun: 0 })
      const second = await submit(tenant, [200])
      await waitsForRoom(second)
      gates.at(tenant).open()
      expect(await runtime.ended(first)).toMatchObject({ status: 'succeeded' })
      expect(await runtime.ended(second)).toMatchObject({ status: 'succeeded' })
      expect(await row(tenant)).toEqual({ settled: 350, reserved: 0, overrun: 0 })
      expect(await allKept()).toEqual([])
    })
  }

  it('has what a run has used that ends before its worker hears of it', async () => {
    const tenant = await newTenant()
    const run = await submit(tenant, [20, 30, { gate: tenant, mayUse: 300 }])
    await gates.at(tenant).reached
    const lost = [vi.spyOn(runtime.database, 'notify'), vi.spyOn(runtime.concordat.worker, 'hear')]
    for (const push of lost) push.mockResolvedValue()
    await apply(tenant, tokens(200))
    for (const push of lost) push.mockRestore()
    gates.at(tenant).open()
    await runtime.ended(run)
    expect(await row(tenant)).toEqual({ settled: 150, reserved: 0, overrun: 0 })
    await until(
      () => Promise.resolve(runtime.heardOf(run)),
      (events) => events.some(({ type }) => type === 'threshold.exceeded'),
    )
    expect(await allKept()).toEqual([])
  })

  it.each(['by itself', 'for a signal'] as const)(
    'has what a run has used that lingers %s and ends without another step',
    async (input) => {
      const tenant = await newTenant()
      const run = await runtime.runs.submit({ tenant, agent: 'lingers', input })
      if (input === 'by itself') await gates.at(tenant).reached
      else
        await until(
          () => runtime.runs.get(tenant, run.runId),
          ({ waiting }) => waiting === 'SIGNAL',
        )
      await apply(tenant, tokens(50, { onChange: 'live' }))
      if (input === 'by itself') gates.at(tenant).open()
      else await runtime.runs.signal(tenant, run.runId, 'go')
      expect(await runtime.ended(run)).toMatchObject({ steps: { length: input === 'by itself' ? 1 : 2 } })
      expect(await row(tenant)).toEqual({ settled: 70, reserved: 0, overrun: 20 })
      expect(await allKept()).toEqual([])
    },
  )

  it('counts a step that was just being reserved for by another limit', async () => {
    const tenant = await newTenant()
    await apply(tenant, tokens(900))
    const answered = Promise.withResolvers<void>()
    const reserved = new Promise<void>((resolve) => {
      const remove = runtime.database.intercept(({ statement, before }) => {
        if (statement !== 'committed' || !before.includes('budgets_lock')) return
        remove()
        resolve()
        return answered.promise
      })
    })
    const run = await submit(tenant, [{ gate: tenant, mayUse: 300 }])
    await reserved
    const told = runtime.database.pauseAt('workers_orders')
    const applied = apply(tenant, tokens(900), tokens(800, { name: 'agent', scope: 'agent' }))
    await told.reached
    told.resume()
    await applied
    await runtime.database.query('select') // the reply to that is here
    answered.resolve()
    await gates.at(tenant).reached
    await rowIs(tenant, 0, 300, 'agent/calls')
    gates.at(tenant).open()
    await runtime.ended(run)
    expect(await allKept()).toEqual([])
  })

  it('is exceeded by what was under way, as an overrun that is recorded, and refuses what comes next', async () => {
    const tenant = await newTenant()
    const run = await submit(tenant, [
      250,
      [
        { gate: `${tenant}-1`, mayUse: 120 },
        { gate: `${tenant}-2`, mayUse: 400 },
      ],
      1,
    ])
    await Promise.all([1, 2].map((n) => gates.at(`${tenant}-${n}`).reached))
    await apply(tenant, tokens(200))
    expect(await rowIs(tenant, 250, 520)).toMatchObject({ overrun: 570 })
    expect(await checkLedger(runtime.database)).toEqual([])
    for (const n of [1, 2]) gates.at(`${tenant}-${n}`).open()
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await row(tenant)).toEqual({ settled: 450, reserved: 0, overrun: 250 })
    expect(await allKept()).toEqual([])
  })

  it('of a run counts both its steps that are under way', async () => {
    const tenant = await newTenant()
    const held = [1, 2].map((n) => ({ gate: `${tenant}-${n}`, mayUse: 200 }))
    const run = await submit(tenant, [50, held, 100, 100, 100])
    await Promise.all(held.map(({ gate }) => gates.at(gate).reached))
    await apply(tenant, tokens(500, { scope: 'run', window: 'run' }))
    await rowIs(tenant, 50, 400, `run/${run.runId}`)
    for (const { gate } of held) gates.at(gate).open()
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 450, reserved: 0, overrun: 0 })
    expect(await allKept()).toEqual([])
  })

  it('of an agent, of a key and of the runs above counts the step of a child that is under way', async () => {
    const tenant = await newTenant()
    const run = await submit(tenant, [{ gate: tenant, mayUse: 300 }, 60, 60], 'starts', 'cdk_1')
    await gates.at(tenant).reached
    await apply(
      tenant,
      tokens(400, { name: 'agent', scope: 'agent' }),
      tokens(350, { name: 'key', scope: 'api_key' }),
      tokens(200, { name: 'run', scope: 'run', window: 'run' }),
    )
    await rowIs(tenant, 0, 300, 'agent/calls')
    await rowIs(tenant, 0, 300, 'key/cdk_1')
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 0, reserved: 300, overrun: 100 })
    gates.at(tenant).open()
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await row(tenant, 'key/cdk_1')).toEqual({ settled: 160, reserved: 0, overrun: 0 })
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 160, reserved: 0, overrun: 0 })
    expect(await allKept()).toEqual([])
  })

  it('and is lowered below what is used refuses the next step, and shows by how much it is exceeded', async () => {
    const tenant = await newTenant()
    await apply(tenant, tokens(1_000))
    const run = await submit(tenant, [400, { gate: tenant, mayUse: 200 }, 1])
    await gates.at(tenant).reached
    await apply(tenant, tokens(300))
    gates.at(tenant).open()
    const ended = await runtime.ended(run)
    expect(ended).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(ended.steps).toHaveLength(2)
    expect(await row(tenant)).toEqual({ settled: 500, reserved: 0, overrun: 200 })
    expect(await allKept()).toEqual([])
  })

  describe('and had been deleted', () => {
    const stepsOf = (tenant: string) => [
      100,
      { gate: `${tenant}-1`, mayUse: 200 },
      50,
      { gate: `${tenant}-2`, mayUse: 200 },
      200,
    ]

    it('has not missed what runs under way have used meanwhile', async () => {
      const tenant = await newTenant()
      await apply(tenant, tokens(500))
      const run = await submit(tenant, stepsOf(tenant))
      await gates.at(`${tenant}-1`).reached
      await apply(tenant)
      gates.at(`${tenant}-1`).open()
      await gates.at(`${tenant}-2`).reached
      await apply(tenant, tokens(500))
      await rowIs(tenant, 250, 200)
      gates.at(`${tenant}-2`).open()
      expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
      expect(await row(tenant)).toEqual({ settled: 350, reserved: 0, overrun: 0 })
      expect(await allKept()).toEqual([])
    })

    it('nor what a run has used that was paused by either change, and resumed', async () => {
      const tenant = await newTenant()
      const pausing = tokens(500, { onChange: 'pause' })
      await apply(tenant, pausing)
      const run = await submit(tenant, stepsOf(tenant))
      const resumed = () => runtime.runs.resume(tenant, run.runId, admin)
      await gates.at(`${tenant}-1`).reached
      await apply(tenant)
      gates.at(`${tenant}-1`).open()
      await standing(run, 'paused')
      await resumed()
      await gates.at(`${tenant}-2`).reached
      await apply(tenant, pausing)
      gates.at(`${tenant}-2`).open()
      await standing(run, 'paused', 2)
      expect(await row(tenant)).toEqual({ settled: 350, reserved: 0, overrun: 0 })
      await resumed()
      expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
      expect(await allKept()).toEqual([])
    })
  })

  it('counts what a paused run has used of the period once that goes on, and only once', async () => {
    const tenant = await newTenant()
    const run = await submit(tenant, [150, { gate: tenant, mayUse: 200 }, 50, 50])
    await gates.at(tenant).reached
    await runtime.runs.pause(tenant, run.runId, { by: 'ada', as: 'TENANT_ADMIN', why: 'wait' })
    gates.at(tenant).open()
    await standing(run, 'paused')
    await apply(tenant, tokens(320))
    await runtime.ended(await submit(tenant, [10]))
    await runtime.runs.resume(tenant, run.runId, admin)
    expect(await runtime.ended(run)).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await row(tenant)).toEqual({ settled: 310, reserved: 0, overrun: 0 })
    expect(await allKept()).toEqual([])
  })

  it.each([
    ['changed', 'pause', 'paused', [['LIMIT_CHANGED', 1, 2]]],
    ['disabled', 'pause', 'paused', [['POLICY_DISABLED', 1, 2]]],
    ['deleted', 'pause', 'paused', [['POLICY_DISABLED', 1, null]]],
    ['changed', 'live', 'failed_policy', [['BUDGET_EXCEEDED', 1, 2]]],
    ['disabled', 'live', 'succeeded', []],
    ['deleted', 'live', 'succeeded', []],
    ['changed', 'pinned', 'succeeded', []],
    ['disabled', 'pinned', 'succeeded', []],
    ['deleted', 'pinned', 'succeeded', []],
  ] as [string, 'pause' | 'live' | 'pinned', string, unknown[]][])(
    'and is %s does what onChange %s says: the run is %s',
    async (change, onChange, status, expected) => {
      const tenant = await newTenant()
      await apply(tenant, tokens(400, { onChange }))
      const run = await submit(tenant, [{ gate: tenant, mayUse: 200 }, 100])
      await gates.at(tenant).reached
      if (change === 'deleted') await apply(tenant)
      else await apply(tenant, tokens(150, { onChange, enabled: change !== 'disabled' }))
      gates.at(tenant).open()
      const { violations } = await until(
        () => runtime.runs.get(tenant, run.runId),
        (report) => report.status === status,
      )
      expect(violations.map((each) => [each.type, each.previousVersion, each.policyVersion])).toEqual(expected)
      if (status === 'paused') await runtime.runs.stop(tenant, run.runId)
    },
  )
})
