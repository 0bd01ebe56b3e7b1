import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing, describeOnDatabases } from './support/databases.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

/** The order in which runs began, by what their input says. */
const begun: string[] = []
const notes = defineAgent<string>({
  name: 'notes',
  version: '1',
  run: ({ input }) => {
    begun.push(input)
  },
})

const counts = { now: new Map<string, number>(), most: new Map<string, number>() }
async function counted(key: string, work: () => Promise<unknown>) {
  const now = (counts.now.get(key) ?? 0) + 1
  counts.now.set(key, now)
  counts.most.set(key, Math.max(counts.most.get(key) ?? 0, now))
  await work()
  counts.now.set(key, (counts.now.get(key) ?? 1) - 1)
}

const breathe = () => new Promise((resolve) => setTimeout(resolve, 5))
const narrow = defineAgent<string>({
  name: 'narrow',
  version: '1',
  maxRunning: 3,
  run: ({ input }) => counted(input, breathe),
})
const wide = defineAgent<string>({ name: 'wide', version: '1', run: ({ input }) => counted(input, breathe) })
const holds = defineAgent<string>({
  name: 'holds',
  version: '1',
  run: ({ input, signal }) => gates.at(input).pass(signal),
})

const agents = [notes, narrow, wide, holds]
const DAY_MS = 86_400_000

describeOnDatabases('claiming', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    counts.now.clear()
    counts.most.clear()
    runtime = await open({ agents, started: false, config: { workerConcurrency: 1 } })
  })
  const submit = (agent: string, input: string, request: object = {}, on = runtime) => {
    return on.runs.submit({ tenant: 'default', agent, input, ...request })
  }

  it('goes by priority, then by age; a run with a time waits for it', async () => {
    begun.length = 0
    const later = await submit('notes', 'later', { runAt: new Date(Date.now() + 300), priority: 100 })
    await submit('notes', 'never', { runAt: new Date(Date.now() + DAY_MS), priority: 100 })
    const rest = []
    for (const [input, priority] of [
      ['c', 0],
      ['d', 0],
      ['e', -5],
      ['b', 7],
      ['a', 100],
    ] as const) {
      rest.push(await submit('notes', input, { priority }))
    }
    await runtime.start()
    await Promise.all([later, ...rest].map((handle) => runtime.ended(handle)))
    expect(begun.filter((input) => input !== 'later')).toEqual(['a', 'b', 'c', 'd', 'e'])
    const run = await runtime.runs.get('default', later.runId)
    expect(run.executionStartedAt?.getTime()).toBeGreaterThanOrEqual(run.createdAt.getTime() + 290)
    expect(begun).not.toContain('never')
  })

  it('takes tenants in turn', async () => {
    begun.length = 0
    const hold = await submit('holds', 'turn')
    await gates.at('turn').reached
    for (const tenantId of ['turn-a', 'turn-b', 'turn-c']) await runtime.concordat.tenants.put({ tenantId })
    const submitted = []
    for (const tenant of ['turn-a', 'turn-a', 'turn-a', 'turn-b', 'turn-b', 'turn-c']) {
      submitted.push(await submit('notes', tenant, { tenant }))
    }
    gates.at('turn').open()
    await Promise.all([hold, ...submitted].map((handle) => runtime.ended(handle)))
    expect(begun.slice(0, 3).toSorted()).toEqual(['turn-a', 'turn-b', 'turn-c'])
    expect(begun.slice(3).toSorted()).toEqual(['turn-a', 'turn-a', 'turn-b'])
  })

  it('leaves the runs of an agent version that nobody has where they are', async () => {
    const { runId } = await submit('notes', 'orphan')
    await runtime.ended({ tenantId: 'default', runId })
    const waiting = await submit('notes', 'orphan', { runAt: new Date(Date.now() + 100) })
    await runtime.database.query(`update concordat.runs set agent_version = '0' where run_id = $1`, [waiting.runId])
    await runtime.ended(await submit('notes', 'after', { runAt: new Date(Date.now() + 200) }))
    expect(await runtime.runs.get('default', waiting.runId)).toMatchObject({ status: 'queued', phase: 'AUTHORIZED' })
  })

  it('leaves a suspended tenant’s queued runs waiting until it is resumed', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'paused' })
    const handle = await submit('notes', 'paused', { tenant: 'paused', runAt: new Date(Date.now() + 100) })
    await runtime.concordat.tenants.suspend('paused')
    await runtime.ended(await submit('notes', 'after', { runAt: new Date(Date.now() + 200) }))
    expect((await runtime.runs.get('paused', handle.runId)).status).toBe('queued')
    await runtime.concordat.tenants.resume('paused')
    expect((await runtime.ended(handle)).status).toBe('succeeded')
  })

  it('delays one tenant’s run by no more than a slot’s turn when another has 10,000 queued', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'flood' })
    await runtime.concordat.tenants.put({ tenantId: 'trickle' })
    const hold = await submit('holds', 'flood')
    await gates.at('flood').reached
    const { runId } = await submit('notes', 'flood', { tenant: 'flood' })
    await runtime.database.query(FLOOD, [runId, 10_000])
    const single = await submit('notes', 'trickle', { tenant: 'trickle' })
    begun.length = 0
    gates.at('flood').open()
    await Promise.all([hold, single].map((handle) => runtime.ended(handle)))
    expect(begun.indexOf('trickle')).toBeLessThanOrEqual(1)
    await runtime.database.query(`delete from concordat.runs where tenant_id = 'flood' and phase = 'AUTHORIZED'`)
  })
})

/** Copies one queued run many times, as if each had been submitted. */
const FLOOD = `
  insert into concordat.runs (tenant_id, run_id, agent, agent_version, agent_digest, phase, priority, ready_at, timeout_ms,
    request_digest, transitions, contract_id, created_at, input, input_size, input_digest)
  select tenant_id, gen_random_uuid(), agent, agent_version, agent_digest, phase, priority, ready_at, timeout_ms,
    request_digest, transitions, contract_id, created_at, input, input_size, input_digest
    from concordat.runs, generate_series(1, $2::int) where run_id = $1`

describeOnPostgres('two worker pools on one database', (server) => {
  const { later, closeLater } = closing()
  const pools: TestRuntime[] = []
  beforeAll(async () => {
    gates = new Gates()
    counts.now.clear()
    counts.most.clear()
    const { url, drop } = await createDatabase(server)
    later(drop)
    for (let i = 0; i < 2; i++) {
      pools.push(
        closeLater(
          await createTestRuntime({ databaseUrl: url, agents, config: { workerConcurrency: 20, leaseMs: 30_000 } }),
        ),
      )
    }
  })

  const run = async (agent: string, input: string, tenant: string, count: number) => {
    const submit = (_: unknown, i: number) => pools[i % 2]!.runs.submit({ tenant, agent, input })
    const handles = await Promise.all(Array.from({ length: count }, submit))
    return Promise.all(handles.map((handle) => pools[0]!.ended(handle)))
  }

  it('never execute a run twice, and share the work', async () => {
    await pools[0]!.concordat.tenants.put({ tenantId: 'shared' })
    const runs = await run('wide', 'shared', 'shared', 120)
    expect(runs.every(({ leaseToken, status }) => leaseToken === 1 && status === 'succeeded')).toBe(true)
    const rows = await pools[0]!.database.query<{ worker: string }>(
      `select distinct event->'data'->>'workerId' as worker from concordat.outbox, json_array_elements(events) event
        where tenant_id = 'shared' and event->>'type' = 'run.started'`,
    )
    expect(rows.map(({ worker }) => worker).toSorted()).toEqual(
      pools.map(({ concordat }) => concordat.worker.workerId).toSorted(),
    )
  })

  it('keep an agent’s maxRunning per tenant together', async () => {
    for (const tenantId of ['narrow-a', 'narrow-b']) await pools[0]!.concordat.tenants.put({ tenantId })
    await Promise.all([run('narrow', 'narrow-a', 'narrow-a', 40), run('narrow', 'narrow-b', 'narrow-b', 40)])
    expect([counts.most.get('narrow-a'), counts.most.get('narrow-b')]).toEqual([3, 3])
  })

  it('keep a tenant’s maxRunning over all its agents together', async () => {
    await pools[0]!.concordat.tenants.put({ tenantId: 'small', maxRunning: 2 })
    await Promise.all([run('wide', 'small', 'small', 30), run('narrow', 'small', 'small', 30)])
    expect(counts.most.get('small')).toBe(2)
  })

  it('both hear a stop, and one of stop and completion wins for both', async () => {
    const handles = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        pools[i % 2]!.runs.submit({ tenant: 'default', agent: 'wide', input: 'race' }),
      ),
    )
    const stops = await Promise.all(
      handles.map(({ runId }, i) =>
        pools[(i + 1) % 2]!.runs.stop('default', runId).catch((error) => error.code as string),
      ),
    )
    const ends = await Promise.all(handles.map((handle) => pools[0]!.ended(handle)))
    stops.forEach((answer, i) => {
      expect([answer, ends[i]?.status]).toEqual([answer, answer === 'RUN_ENDED' ? 'succeeded' : 'cancelled'])
    })
  })

  it('stop a run that the other one executes, by a push', async () => {
    const handle = await pools[0]!.runs.submit({ tenant: 'default', agent: 'holds', input: 'pushed' })
    await gates.at('pushed').reached
    const { workerId } = await pools[0]!.runs.get('default', handle.runId)
    const other = pools.find(({ concordat }) => concordat.worker.workerId !== workerId)!
    const from = performance.now()
    expect(await other.runs.stop('default', handle.runId)).toBe('requested')
    const ended = await until(
      () => pools[0]!.runs.get('default', handle.runId),
      ({ endedAt }) => endedAt !== null,
    )
    expect(ended.status).toBe('cancelled')
    expect(performance.now() - from).toBeLessThan(2_000) // a heartbeat's reply comes every 3 s only
  })
})
