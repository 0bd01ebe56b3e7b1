import { setTimeout } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing, describeOnDatabases } from './support/databases.ts'
import { eventCounts, eventsOfEnded, FIVE_ACKS, successAcks, WALK_TO_COMPLETED, walked } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()
const twoSteps = defineAgent({
  name: 'two steps',
  version: '1',
  async run({ step }) {
    await step.do('first', () => 1)
    return step.do('second', () => 2)
  },
})
const holds = defineAgent<string>({
  name: 'holds',
  version: '1',
  run: ({ input, signal }) => gates.at(input).pass(signal),
})
const limited = defineAgent({ name: 'limited', version: '1', maxRunning: 5, run: () => 1 })
const agents = [twoSteps, holds, limited]

const EAGER = 'started by the worker beside its submission'

describeOnDatabases('a run that is submitted beside a worker whose queue is empty', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents, config: { workerConcurrency: 2 } })
  })

  const submit = (agent: string, input: string | null = null, request: object = {}) => {
    return runtime.runs.submit({ tenant: 'default', agent, input, ...request })
  }
  const startedHow = async (runId: string) => {
    const { transitions } = await runtime.runs.get('default', runId)
    return transitions.find(({ to }) => to === 'EXECUTING')?.why
  }
  /** How the first of some runs was started that says what is asked for: a claim may be under way at any moment. */
  async function oneStarted(agent: string, how: string, request: object = {}) {
    for (let n = 0; n < 20; n++) {
      const handle = await submit(agent, null, request)
      const run = await runtime.ended(handle)
      if ((await startedHow(handle.runId)) === how) return run
    }
    throw new Error(`none of 20 runs was ${how}`)
  }

  it('is started in the commit of its submission, and leaves what every run leaves', async () => {
    const run = await oneStarted('two steps', EAGER)
    expect(walked(run)).toEqual(WALK_TO_COMPLETED)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
    expect(run.events.map(({ type }) => type).slice(0, 3)).toEqual(['run.created', 'run.started', 'trace.started'])
    const [first] = await runtime.database.query(
      `select lease_token, worker_losses, execution_started_at >= created_at - interval '1 second' as begun
         from concordat.runs where run_id = $1`,
      [run.runId],
    )
    expect(first).toEqual({ lease_token: 1, worker_losses: 0, begun: true })
  })

  it('is never executed before it was submitted, whoever shares its batch', async () => {
    const runs = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        await setTimeout(n % 5)
        return runtime.ended(await submit('two steps'))
      }),
    )
    for (const { transitions } of runs) {
      const times = transitions.map(({ at }) => at)
      expect(times).toEqual(times.toSorted())
    }
  })

  it('is the same run when it is submitted twice with one key', async () => {
    const request = { idempotencyKey: 'once' }
    const [first, second] = await Promise.all([submit('two steps', null, request), submit('two steps', null, request)])
    expect(second.runId).toBe(first.runId)
    expect((await runtime.ended(first)).steps).toHaveLength(2)
  })

  it('is started so right after another one has ended: the queue is as empty as it was', async () => {
    let claims = 0
    const remove = runtime.database.intercept(({ statement }) => {
      if (statement === 'claims_begin') claims++
    })
    const from = performance.now()
    let queued = 0
    for (let n = 0; n < 50; n++) {
      const handle = await submit('two steps')
      await runtime.ended(handle)
      if ((await startedHow(handle.runId)) !== EAGER) queued++
    }
    remove()
    // Every 100 ms one looks for what others have queued; what comes in its way is queued, and claimed with others after it.
    const polls = (performance.now() - from) / 100
    expect(claims).toBeLessThanOrEqual(polls + 3 * queued + 2)
  })

  it('is queued when its agent or its tenant has a limit, or when it is to run later', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'narrow', maxRunning: 1 })
    const runs = [
      await submit('limited'),
      await submit('two steps', null, { tenant: 'narrow' }),
      await submit('two steps', null, { runAt: new Date(Date.now() + 50) }),
    ]
    for (const handle of runs) {
      const { transitions } = await runtime.ended(handle)
      expect(transitions.find(({ to }) => to === 'EXECUTING')?.why).toBe('claimed by a worker')
    }
  })

  it('never makes its worker execute more than it has slots', async () => {
    const handles = await Promise.all(['a', 'b', 'c', 'd'].map((input) => submit('holds', input)))
    await until(
      async () => runtime.concordat.worker.active,
      (active) => active === 2,
    )
    const [held] = await runtime.database.query<{ held: number }>(
      'select count(*)::int as held from concordat.runs where worker_id is not null',
    )
    expect(held).toEqual({ held: 2 })
    for (const input of ['a', 'b', 'c', 'd']) gates.at(input).open()
    await Promise.all(handles.map((handle) => runtime.ended(handle)))
  })

  it('is denied with its whole footprint when its tenant is suspended', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'away' })
    await runtime.concordat.tenants.suspend('away')
    expect((await submit('two steps', null, { tenant: 'away' })).denial).toMatchObject({ code: 'TENANT_SUSPENDED' })
    const [counted] = await runtime.database.query<{ running: number; denied: number }>(
      `select (count(*) filter (where execution_started_at is not null))::int as running,
              (count(*) filter (where status = 'failed_policy'))::int as denied
         from concordat.runs where tenant_id = 'away'`,
    )
    expect(counted).toEqual({ running: 0, denied: 1 })
  })
})

describeOnPostgres('a worker that has just died', (server) => {
  const { later, closeLater } = closing()

  it('is given no run by a submission: the run is queued, and another worker executes it', async () => {
    const { url, drop } = await createDatabase(server)
    later(drop)
    const runtime = closeLater(await createTestRuntime({ agents, databaseUrl: url }))
    await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'two steps' }))
    // What its own process has not noticed yet.
    await runtime.database.query(`update concordat.workers set expires_at = clock_timestamp() - interval '1 second'`)
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'two steps' })
    const { transitions } = await runtime.ended(handle)
    expect(transitions.find(({ to }) => to === 'EXECUTING')?.why).toBe('claimed by a worker')
  })
})
