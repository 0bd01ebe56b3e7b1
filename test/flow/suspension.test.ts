import { beforeAll, describe, expect, it } from 'vitest'
import { eventsOfRun } from '../../src/foundation/events/events.ts'
import { NO_RUN } from '../../src/foundation/ids.ts'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing, describeOnDatabases } from './support/databases.ts'
import { endingOf, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

const holds = defineAgent({
  name: 'holds',
  version: '1',
  maxRunning: 1,
  async run({ step, run, signal }) {
    await step.do('hold', () => gates.at(run.runId).pass(signal), { sideEffects: false })
    return 'done'
  },
})
const sleeps = defineAgent<number>({
  name: 'sleeps',
  version: '1',
  run: ({ step, input }) => step.sleep('nap', input).then(() => step.do('after', () => 'awake')),
})

const agents = [holds, sleeps]
const note = { by: 'ada', why: 'unpaid' }
const blocked = {
  status: 'failed_policy',
  phase: 'FAILED',
  reason: 'TENANT_SUSPENDED',
  incident: 'BLOCKED',
  trace: 'ABORTED',
  event: 'run.failed',
}

describeOnDatabases('a tenant that is suspended', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents })
    for (const tenantId of ['acme', 'other']) await runtime.concordat.tenants.create({ tenantId })
  })
  const submit = (tenant: string, agent: string, request: object = {}) =>
    runtime.runs.submit({ tenant, agent, ...request })

  it('has what is in flight ended as failed_policy, keeps what is queued, and is denied new runs', async () => {
    const { tenants } = runtime.concordat
    const held = await submit('acme', 'holds')
    const spared = await submit('other', 'holds')
    const asleep = await submit('acme', 'sleeps', { input: 3_600_000 })
    await Promise.all([held, spared].map(({ runId }) => gates.at(runId).reached))
    const queued = await submit('acme', 'holds') // which executes one run of a tenant at a time
    await until(
      () => runtime.runs.get('acme', asleep.runId),
      ({ waiting }) => waiting === 'TIMER',
    )

    const suspended = await tenants.suspend('acme', note)
    expect(suspended).toMatchObject({ changed: true, delivered: 1, confirmed: 1, unconfirmed: 0 })
    expect(await tenants.suspend('acme', note)).toMatchObject({ changed: false, requested: 0 })
    for (const handle of [held, asleep]) {
      const run = await runtime.ended(handle)
      expect(endingOf(run)).toMatchObject(blocked)
      expect(successAcks(run)).toEqual(FIVE_ACKS)
      expect([run.incident?.message, run.stop?.kind]).toEqual(['the tenant was suspended by ada: unpaid', 'suspension'])
      expect(run.steps.some(({ name }) => name === 'after')).toBe(false)
      await expect(handle.result()).rejects.toMatchObject({ code: 'TENANT_SUSPENDED' })
    }
    expect((await submit('acme', 'holds')).denial).toMatchObject({ code: 'TENANT_SUSPENDED' })
    const listed = (await tenants.list()).find(({ tenantId }) => tenantId === 'acme')
    expect(listed).toMatchObject({ status: 'suspended', suspension: note, executing: 0, waiting: 0, queued: 1 })
    expect((await runtime.runs.get('acme', queued.runId)).status).toBe('queued')

    expect(await tenants.resume('acme', note)).toEqual({ changed: true })
    expect(await tenants.resume('acme', note)).toEqual({ changed: false })
    for (const handle of [queued, spared]) {
      await gates.at(handle.runId).reached
      gates.at(handle.runId).open()
      expect((await runtime.ended(handle)).status).toBe('succeeded')
    }
  })

  it('is told of in events of its own', async () => {
    const events = await eventsOfRun(runtime.database, { tenantId: 'acme', runId: NO_RUN })
    expect(events.map(({ type, data }) => [type, data])).toEqual([
      ['tenant.suspended', { as: 'OPERATOR', ...note }],
      ['tenant.resumed', { as: 'OPERATOR', ...note }],
    ])
  })

  it('must be there', async () => {
    const { tenants } = runtime.concordat
    await expect(tenants.suspend('nobody')).rejects.toMatchObject({ code: 'UNKNOWN_TENANT' })
    await expect(tenants.resume('nobody')).rejects.toMatchObject({ code: 'UNKNOWN_TENANT' })
    await expect(tenants.create({ tenantId: 'acme' })).rejects.toMatchObject({ code: 'TENANT_EXISTS' })
  })

  it('has the rest stopped by maintenance when the suspension broke off', async () => {
    await runtime.concordat.tenants.create({ tenantId: 'half' })
    const held = await submit('half', 'holds')
    await gates.at(held.runId).reached
    await runtime.database.query(`update concordat.tenants set status = 'suspended' where tenant_id = 'half'`)
    expect(endingOf(await runtime.ended(held))).toMatchObject(blocked)
  })
})

describeOnPostgres('a suspension', (server) => {
  const { later, closeLater } = closing()
  describe('that races a claim', () => {
    it('stops a run whose claim had read the tenant as active and was committed after the suspension', async () => {
      const { url, drop } = await createDatabase(server)
      later(drop)
      const worker = closeLater(await createTestRuntime({ databaseUrl: url, agents, started: false }))
      const operator = closeLater(await createTestRuntime({ databaseUrl: url, agents, started: false }))
      const claimed = Promise.withResolvers<void>()
      const mayCommit = Promise.withResolvers<void>()
      later(async () => mayCommit.resolve())
      const remove = worker.database.intercept(async ({ statement, before, tx }) => {
        if (statement !== 'commit' || !before.includes('runs_claim_and_start')) return
        const mine = await tx.query(`select from concordat.runs where phase = 'EXECUTING'`)
        if (mine.length === 0) return
        claimed.resolve()
        await mayCommit.promise
      })
      await worker.concordat.start()
      const run = await operator.runs.submit({ tenant: 'default', agent: 'holds' })
      await claimed.promise
      let isDone = false
      const suspending = operator.concordat.tenants.suspend('default', note).finally(() => {
        isDone = true
      })
      await until(
        () => operator.concordat.tenants.list(),
        (tenants) => tenants[0]?.status === 'suspended',
      )
      expect([isDone, (await operator.runs.get('default', run.runId)).status]).toEqual([false, 'queued'])
      remove()
      mayCommit.resolve()
      expect(await suspending).toMatchObject({ changed: true, unconfirmed: 0 })
      expect(endingOf(await operator.ended(run))).toMatchObject(blocked)
    })
  })
})
