import type { PendingEnd, RunKey, RunStop } from '../../domains/runs/runs.ts'
import { appendEventsSql } from '../../foundation/events/events.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { renewStopOrder, type StopOrder } from './stop-order-store.ts'

/** A stop wins until the run enters GOVERNANCE_CHECK, once, and not over an end that is known already. */
export const STOPPABLE = `stop is null and pending is null and phase in ('CREATED', 'AUTHORIZED', 'EXECUTING')`

/*
 * A run that nobody executes is taken at once: its token is raised and its end is stored, so that whoever asked can end
 * it, and maintenance does if that process dies.
 */
export const STOP = (stop: string, end: string, takeoverMs: string) => `
          stop = ${stop}::jsonb,
          lease_token = case when worker_id is null then lease_token + 1 else lease_token end,
          pending = case when worker_id is null then ${end}::json end,
          ready_at = null,
          paused = false,
          due_at = case when worker_id is null then clock_timestamp() + ${takeoverMs}::int * interval '1 ms' end`

/** What is announced of every stop: parameters with the time as RFC 3339 text and with the data. */
export const announce = (time: string, data: string) => announceOf(`${time}::text`, `${data}::text`)

/** The same, of SQL expressions. */
export const announceOf = (time: string, data: string) =>
  appendEventsSql('stopped', [
    { id: `concordat.uuid_v7(${time}::timestamptz)`, type: 'run.stop_requested', time, data },
  ])

const REQUEST_STOP = statement(
  'runs_request_stop',
  `with stopped as (
     update concordat.runs
        set ${STOP('$3', '$4', '$5')}
      where tenant_id = $1 and run_id = $2 and ${STOPPABLE}
     returning tenant_id, run_id, worker_id, lease_token
   ),
   event as (${announce('$6', '$7')})
   select run_id, worker_id, lease_token from stopped`,
)

export interface StopRequest {
  readonly stop: RunStop
  /** How runs end that nobody executes. */
  readonly end: PendingEnd
  /** How long the caller has to end those itself before maintenance does, in milliseconds. */
  readonly takeoverMs: number
}

/** A run whose stop is requested. `workerId` null: it is the caller's to end. */
export interface StoppedRun extends RunKey {
  readonly workerId: string | null
  readonly leaseToken: number
}

interface StoppedRow {
  readonly run_id: string
  readonly worker_id: string | null
  readonly lease_token: number
}

/** Null: the run is past stopping, or a stop was requested before. */
export async function requestStop(tx: Tx, run: RunKey, request: StopRequest): Promise<StoppedRun | null> {
  const [row] = await tx.query<StoppedRow>(REQUEST_STOP, [run.tenantId, run.runId, ...stopValues(request)])
  return row ? toStopped(run.tenantId, row) : null
}

/*
 * Candidates are found by what they do now, those that execute first, as this statement began; then each is locked, in
 * the one order, and looked at again. One that has moved meanwhile is left for the next batch, and only a batch that
 * finds no candidate is the last. A suspension that has been lifted stops nobody any more.
 */
const BATCH = (found: string) => `with candidate as materialized (
     select run_id from (${found}) open
      where not $10::boolean
         or exists (select from concordat.tenants t where t.tenant_id = $1 and t.status = 'suspended')
      limit $9
   ),
   target as (
     select r.address from (select run_id from candidate order by run_id) c
      cross join lateral (
        select ctid as address from concordat.runs
         where tenant_id = $1 and run_id = c.run_id and ${STOPPABLE} limit 1 for no key update) r
   ),
   stopped as (
     update concordat.runs
        set ${STOP('$4', '$5', '$6')}
       from target
      where runs.ctid = target.address
     returning tenant_id, run_id, worker_id, lease_token
   ),
   event as (${announce('$7', '$8')})
   select run_id, worker_id, lease_token, 0 as found from stopped
   union all
   select null, null, null, count(*)::int from candidate`

const OPEN = (where: string) => `
       select run_id from concordat.runs
        where tenant_id = $1 and ${where} and ($2::text is null or agent = $2) and ${STOPPABLE}
          and created_at <= $11::timestamptz`

const REQUEST_STOPS = statement(
  'runs_request_stops',
  BATCH(`${OPEN('worker_id is not null')}
       union all ${OPEN(`phase = 'EXECUTING' and worker_id is null`)}
       union all ${OPEN(`ready_at is not null and phase <> 'EXECUTING' and not $3::boolean`)}
       union all ${OPEN(`phase in ('CREATED', 'AUTHORIZED') and ready_at is null and not $3::boolean`)}`),
)

export interface StopBatch {
  readonly stopped: readonly StoppedRun[]
  /** True when there was nothing left to stop. */
  readonly last: boolean
}

/** Requests the stop of a bounded number of the order's runs. Call it again until it says that it was the last. */
export async function requestStops(tx: Tx, order: StopOrder, request: StopRequest): Promise<StopBatch> {
  const { tenantId, agent, inFlight, createdUntil } = order
  const isSuspension = request.stop.kind === 'suspension'
  const values = [tenantId, agent, inFlight, ...stopValues(request), limits.stopBatchMax, isSuspension, createdUntil]
  const [batch] = await Promise.all([batchOf(tenantId, tx.query(REQUEST_STOPS, values)), renewStopOrder(tx, order)])
  return batch
}

async function batchOf(tenantId: string, answer: Promise<(StoppedRow & { found: number })[]>): Promise<StopBatch> {
  const rows = await answer
  const stopped = rows.filter((row) => row.run_id !== null).map((row) => toStopped(tenantId, row))
  return { stopped, last: rows.every((row) => row.found === 0) }
}

export function stopValues({ stop, end, takeoverMs }: StopRequest): readonly unknown[] {
  const { kind, by, as, why, requestedAt } = stop
  return [JSON.stringify(stop), JSON.stringify(end), takeoverMs, requestedAt, JSON.stringify({ by, as, why, kind })]
}

function toStopped(tenantId: string, row: StoppedRow): StoppedRun {
  return { tenantId, runId: row.run_id, workerId: row.worker_id, leaseToken: row.lease_token }
}
