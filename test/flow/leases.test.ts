import { beforeAll, expect, it } from 'vitest'
import type { RecordStep } from '../../src/flow/kernel/messages.ts'
import { recordSteps } from '../../src/flow/kernel/step-store.ts'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import {
  endingOf,
  eventCounts,
  eventsOfEnded,
  FIVE_ACKS,
  successAcks,
  WALK_TO_FAILED,
  walked,
} from './support/footprint.ts'
import { type Gate, Gates } from './support/gate.ts'
import { until } from './support/until.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()
const visits = new Map<string, number>()
function visit(key: string): number {
  const count = (visits.get(key) ?? 0) + 1
  visits.set(key, count)
  return count
}

/** Does one step, then waits in another: `input` names its gates, one a visit, and says whether the step has side effects. */
const careful = defineAgent<{ gate: string; sideEffects: boolean }>({
  name: 'careful',
  version: '1',
  async run({ input: { gate, sideEffects }, step }) {
    const first = await step.do('first', () => visit(`${gate} first`))
    const second = await step.do(
      'second',
      async ({ signal }) => {
        const count = visit(`${gate} second`)
        await gates.at(`${gate} ${count}`).pass(signal)
        return count
      },
      { sideEffects },
    )
    return [first, second]
  },
})

const A_STEP = {
  key: 'extra#1',
  seq: 9,
  kind: 'do',
  name: 'extra',
  status: 'succeeded',
  attempt: 1,
  dueAt: null,
  latencyMs: null,
  tokensIn: null,
  tokensOut: null,
  costNanoUsd: null,
  inputDigest: 'none',
  input: null,
  output: null,
  error: null,
  attributes: null,
  traceGap: null,
} as const

describeOnDatabases('a lease', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    visits.clear()
    runtime = await open({ agents: [careful] })
  })
  const submit = (gate: string, sideEffects = false) => {
    return runtime.runs.submit({ tenant: 'default', agent: 'careful', input: { gate, sideEffects } })
  }
  /** The worker falls silent as if it had died, and another one comes up. */
  const loseWorker = async () => {
    await runtime.concordat.worker.abandon(50)
    await runtime.database.query(`update concordat.workers set expires_at = clock_timestamp() where worker_id = $1`, [
      runtime.concordat.worker.workerId,
    ])
    await runtime.concordat.worker.stop()
    await runtime.concordat.worker.start()
  }
  const reached = (gate: Gate) => gate.reached

  it('that is lost passes the run on after its last recorded step, which does not run again', async () => {
    const handle = await submit('passed on')
    await reached(gates.at('passed on 1'))
    await loseWorker()
    await reached(gates.at('passed on 2'))
    gates.at('passed on 1').open() // what the lost worker still returns is not recorded
    gates.at('passed on 2').open()
    const run = await runtime.ended(handle)
    expect(run.output).toEqual([1, 2])
    expect([run.workerLosses, run.leaseToken > 1]).toEqual([1, true])
    expect(visits.get('passed on first')).toBe(1)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
  })

  it('that is lost among others keeps its own steps out, and those of a run that has moved since go in', async () => {
    const names = ['lost', 'moved', 'taken', 'there']
    const handles = await Promise.all(names.map((name) => submit(`among ${name}`)))
    await Promise.all(names.map((name) => reached(gates.at(`among ${name} 1`))))
    const [lost, moved, taken] = handles
    const idOf = (handle?: { runId: string }) => handle?.runId ?? ''
    const { workerId } = runtime.concordat.worker
    const addresses = await runtime.database.query<{ run_id: string; address: string }>(
      `select run_id, ctid as address from concordat.runs where worker_id = $1`,
      [workerId],
    )
    await runtime.database.query('update concordat.runs set metadata = metadata where run_id = $1', [idOf(moved)])
    const stranger = addresses.find(({ run_id }) => run_id === idOf(lost))?.address ?? ''
    const records = handles.map(({ runId }): RecordStep => {
      const address = addresses.find(({ run_id }) => run_id === runId)?.address ?? ''
      const leaseToken = runId === idOf(lost) ? 2 : 1
      const lease = { tenantId: 'default', runId, workerId, leaseToken }
      return {
        // One names the place of another's row, as if that had come there since.
        lease: { ...lease, address: runId === idOf(taken) ? stranger : address },
        step: { ...A_STEP, startedAt: new Date(), endedAt: new Date() },
        stored: false,
      }
    })
    expect(await recordSteps(runtime.database, records)).toEqual([false, true, true, true])
    expect(await recordSteps(runtime.database, records.slice(0, 1))).toEqual([false])
    expect(await recordSteps(runtime.database, records.slice(1))).toEqual([true, true, true]) // as after a lost reply
    const reports = await Promise.all(handles.map(({ runId }) => runtime.runs.get('default', runId)))
    const extra = reports.map(({ steps }) => steps.filter(({ name }) => name === A_STEP.name).length)
    expect(extra).toEqual([0, 1, 1, 1])
    for (const name of names) gates.at(`among ${name} 1`).open()
    for (const handle of handles) expect(await runtime.ended(handle)).toMatchObject({ status: 'succeeded' })
  })

  it('that is lost in a step with side effects leaves it unknown: STEP_UNKNOWN, not run again', async () => {
    const handle = await submit('unknown', true)
    await reached(gates.at('unknown 1'))
    await loseWorker()
    const run = await runtime.ended(handle)
    expect(endingOf(run)).toMatchObject({
      status: 'failed',
      reason: 'STEP_UNKNOWN',
      incident: 'FAILURE',
      trace: 'COMPLETE',
    })
    expect(visits.get('unknown second')).toBe(1)
    expect(run.steps).toMatchObject([
      { status: 'succeeded' },
      { key: 'second#1', status: 'failed', error: { code: 'STEP_UNKNOWN' } },
    ])
  })

  it('that is lost for the sixth time fails the run: WORKER_LOST, with its whole footprint', async () => {
    const handle = await submit('cursed')
    await reached(gates.at('cursed 1'))
    await runtime.database.query('update concordat.runs set worker_losses = 4 where run_id = $1', [handle.runId])
    await loseWorker()
    await reached(gates.at('cursed 2'))
    await loseWorker()
    const run = await runtime.ended(handle)
    expect(endingOf(run)).toMatchObject({
      status: 'failed',
      reason: 'WORKER_LOST',
      incident: 'FAILURE',
      trace: 'ABORTED',
      event: 'run.failed',
    })
    expect(visits.get('cursed second')).toBe(2)
    expect(walked(run)).toEqual(WALK_TO_FAILED)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
  })

  it('of a worker that stops is given back at once: the run goes on elsewhere without a loss', async () => {
    const handle = await submit('drained')
    await reached(gates.at('drained 1'))
    await runtime.concordat.worker.stop()
    expect(await runtime.runs.get('default', handle.runId)).toMatchObject({
      status: 'running',
      waiting: 'LEASE',
      workerId: null,
      workerLosses: 0,
    })
    await runtime.concordat.worker.start()
    await reached(gates.at('drained 2'))
    gates.at('drained 2').open()
    expect(await runtime.ended(handle)).toMatchObject({ status: 'succeeded', output: [1, 2], workerLosses: 0 })
  })

  it('that is lost after a stop was requested: the run is stopped without another step', async () => {
    const handle = await submit('stopped')
    await reached(gates.at('stopped 1'))
    await runtime.concordat.worker.abandon(60_000)
    await runtime.runs.stop('default', handle.runId, { by: 'ada', why: 'enough' })
    await loseWorker()
    const run = await runtime.ended(handle)
    expect(endingOf(run)).toMatchObject({ status: 'cancelled', incident: 'PARTIAL' })
    expect(run.incident?.message).toBe('stopped by ada: enough')
    expect(visits.get('stopped second')).toBe(1)
  })

  it('whose run can’t even start yet gives it back, and it starts as if for the first time', async () => {
    await runtime.database.query('create table not_yet (agent text)')
    await runtime.database.query(
      `create function refuse_start() returns trigger language plpgsql as $$
         begin
           if new.events::text like '%"run.started"%' and exists (select from not_yet) then raise 'not yet'; end if;
           return new;
         end $$`,
    )
    await runtime.database.query(
      'create trigger refuse_start before insert on concordat.outbox for each row execute function refuse_start()',
    )
    await runtime.database.query(`insert into not_yet values ('careful')`)
    gates.at('late 1').open()
    const handle = await submit('late')
    await until(
      () => runtime.runs.get('default', handle.runId),
      ({ waiting }) => waiting === 'RETRY',
    )
    await runtime.database.query('delete from not_yet')
    const run = await runtime.ended(handle)
    expect(run.status).toBe('succeeded')
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
    expect(run.trace?.startedLate).toBe(false)
  })
})
