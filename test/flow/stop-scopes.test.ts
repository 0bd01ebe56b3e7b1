import { randomUUID } from 'node:crypto'
import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

const holds = (name: string) =>
  defineAgent({
    name,
    version: '1',
    async run({ step, run, signal }) {
      await step.do('hold', () => gates.at(run.runId).pass(signal), { sideEffects: false })
      return 'done'
    },
  })
const ignores = defineAgent({
  name: 'ignores',
  version: '1',
  run: ({ step, run }) =>
    step.do(
      'hold',
      () =>
        gates
          .at(run.runId)
          .pass()
          .then(() => 'late'),
      { sideEffects: false },
    ),
})
const waits = defineAgent({ name: 'waits', version: '1', run: ({ step }) => step.sleep('long', 3_600_000) })

describeOnDatabases('a stop of many runs', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    const agents = [holds('holds'), holds('other'), ignores, waits]
    runtime = await open({ agents, config: { workerConcurrency: 100 }, stopGraceMs: 1_000 })
  })

  let tenants = 0
  async function newTenant(): Promise<string> {
    const tenantId = `tenant-${++tenants}`
    await runtime.concordat.tenants.create({ tenantId })
    return tenantId
  }
  async function executing(tenant: string, agent: string, count: number) {
    const submit = () => runtime.runs.submit({ tenant, agent })
    const handles = await Promise.all(Array.from({ length: count }, submit))
    await Promise.all(handles.map(({ runId }) => gates.at(runId).reached))
    return handles
  }
  const statusOf = async ({ tenantId, runId }: { tenantId: string; runId: string }) =>
    (await runtime.runs.get(tenantId, runId)).status
  const note = { by: 'ada', why: 'enough' }

  it('of a tenant: executing, waiting, queued and still to come, each with its whole footprint; no other’s', async () => {
    const [tenant, other] = [await newTenant(), await newTenant()]
    const [spared] = await executing(other, 'holds', 1)
    const held = await executing(tenant, 'holds', 20)
    const asleep = await runtime.runs.submit({ tenant, agent: 'waits' })
    const later = await runtime.runs.submit({ tenant, agent: 'holds', runAt: new Date(Date.now() + 3_600_000) })
    await expect.poll(async () => (await runtime.runs.get(tenant, asleep.runId)).waiting).toBe('TIMER')

    const result = await runtime.runs.stopAll({ tenant, ...note })
    expect(result).toEqual({ requested: 22, ended: 2, delivered: 20, confirmed: 20, unconfirmed: 0 })
    for (const handle of [...held, asleep, later]) {
      const run = await runtime.ended(handle)
      expect(endingOf(run)).toMatchObject({ status: 'cancelled', reason: 'RUN_STOPPED', incident: 'PARTIAL' })
      expect(successAcks(run)).toEqual(FIVE_ACKS)
      expect(run.stop).toMatchObject({ kind: 'stop', ...note })
      expect(run.events.filter(({ type }) => type === 'run.stop_requested')).toHaveLength(1)
    }
    expect(await statusOf(spared!)).toBe('running')
    gates.at(spared!.runId).open()
    expect((await runtime.ended(spared!)).status).toBe('succeeded')
    expect(await runtime.runs.stopAll({ tenant })).toMatchObject({ requested: 0 })
  })

  it('of an agent: only its runs', async () => {
    const tenant = await newTenant()
    const [spared] = await executing(tenant, 'other', 1)
    await executing(tenant, 'holds', 3)
    expect(await runtime.runs.stopAll({ tenant, agent: 'holds', ...note })).toMatchObject({
      requested: 3,
      confirmed: 3,
    })
    expect(await statusOf(spared!)).toBe('running')
    expect(await runtime.runs.stopAll({ tenant })).toMatchObject({ requested: 1 })
  })

  it('of a policy: the runs that it is in scope for', async () => {
    const tenant = await newTenant()
    await runtime.concordat.policies.apply(tenant, [
      { name: 'of-one', agent: 'holds', metric: 'steps', max: 100 },
      { name: 'of-all', metric: 'steps', max: 100 },
    ])
    await executing(tenant, 'holds', 2)
    await executing(tenant, 'other', 1)
    expect(await runtime.runs.stopAll({ tenant, policy: 'of-one' })).toMatchObject({ requested: 2 })
    expect(await runtime.runs.stopAll({ tenant, policy: 'of-all' })).toMatchObject({ requested: 1 })
    await expect(runtime.runs.stopAll({ tenant, policy: 'none' })).rejects.toMatchObject({ code: 'POLICY_NOT_FOUND' })
    await expect(runtime.runs.stopAll({ tenant: 'nobody' })).rejects.toMatchObject({ code: 'UNKNOWN_TENANT' })
  })

  it('reports a step that ignores its signal as unconfirmed, and does not record what it returns', async () => {
    const tenant = await newTenant()
    const [stubborn] = await executing(tenant, 'ignores', 1)
    await executing(tenant, 'holds', 2)
    const early = await runtime.runs.stopAll({ tenant, waitMs: 0 })
    expect(early).toMatchObject({ requested: 3, unconfirmed: 0 })
    const run = await runtime.ended(stubborn!)
    expect(run.stop).toMatchObject({ confirmedAt: null })
    gates.at(stubborn!.runId).open()
    const after = await executing(tenant, 'holds', 1)
    expect((await runtime.runs.get(tenant, stubborn!.runId)).steps).toEqual(run.steps)
    expect(run.steps.every(({ status }) => status !== 'succeeded')).toBe(true)
    gates.at(after[0]!.runId).open()
    await runtime.ended(after[0]!)
  })

  /** As it is left by a process that dies after the order's commit; nobody is told. */
  async function orderOnly(tenant: string) {
    const orderId = randomUUID()
    await runtime.database.query(
      `insert into concordat.stop_orders (tenant_id, order_id, in_flight, created_until, stop, due_at)
       values ($1, $2::uuid, false, (select max(created_at) from concordat.runs where tenant_id = $1), $3, clock_timestamp() + interval '1 hour')`,
      [tenant, orderId, JSON.stringify({ kind: 'stop', ...note, orderId, requestedAt: new Date().toISOString() })],
    )
    return {
      fallDue: () => runtime.database.query(`update concordat.stop_orders set due_at = clock_timestamp()`),
      isOpen: async () => (await runtime.database.query('select from concordat.stop_orders')).length > 0,
    }
  }

  it('holds from its first commit on: heartbeats repeat it, claims obey it, maintenance goes on when its process died', async () => {
    const tenant = await newTenant()
    const [held] = await executing(tenant, 'holds', 1)
    const asleep = await runtime.runs.submit({ tenant, agent: 'waits' })
    const soon = await runtime.runs.submit({ tenant, agent: 'holds', runAt: new Date(Date.now() + 1_000) })
    await expect.poll(async () => (await runtime.runs.get(tenant, asleep.runId)).waiting).toBe('TIMER')
    const order = await orderOnly(tenant)

    const [spared] = await executing(tenant, 'holds', 1) // submitted after it
    for (const handle of [held!, soon]) {
      const run = await runtime.ended(handle)
      expect(endingOf(run)).toMatchObject({ status: 'cancelled', reason: 'RUN_STOPPED', incident: 'PARTIAL' })
      expect(run.stop).toMatchObject({ kind: 'stop', ...note })
      expect(run.stop?.confirmedAt).toBeTruthy()
      expect(run.events.filter(({ type }) => type === 'run.stop_requested')).toHaveLength(1)
    }
    expect((await runtime.runs.get(tenant, soon.runId)).steps).toEqual([])
    expect([await order.isOpen(), await statusOf(asleep), await statusOf(spared!)]).toEqual([
      true,
      'running',
      'running',
    ])

    await order.fallDue()
    expect((await runtime.ended(asleep)).status).toBe('cancelled')
    await expect.poll(() => order.isOpen()).toBe(false)
    gates.at(spared!.runId).open()
    expect((await runtime.ended(spared!)).status).toBe('succeeded')
  })

  it('loses none of more runs than one transaction takes', async () => {
    const tenant = await newTenant()
    const submit = () => runtime.runs.submit({ tenant, agent: 'waits', runAt: new Date(Date.now() + 3_600_000) })
    const handles = await Promise.all(Array.from({ length: 600 }, submit))
    expect(await runtime.runs.stopAll({ tenant })).toMatchObject({ requested: 600, ended: 600 })
    const listed = await runtime.runs.list({ tenantId: tenant, status: 'cancelled', limit: 1_000 })
    expect([listed.length, await statusOf(handles.at(-1)!)]).toEqual([600, 'cancelled'])
  })
})
