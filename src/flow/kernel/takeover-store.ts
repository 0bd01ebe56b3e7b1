import type { PendingEnd, RunKey } from '../../domains/runs/runs.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'

/*
 * A stop wins until the run enters GOVERNANCE_CHECK. A run that nobody executes is taken at once: its token is raised
 * and its end is stored, so that whoever asked can end it, and maintenance does if that process dies.
 */
const REQUEST_STOP = statement(
  'runs_request_stop',
  `update concordat.runs
      set stop = $3::jsonb,
          lease_token = case when worker_id is null then lease_token + 1 else lease_token end,
          pending = case when worker_id is null then $4::json end,
          ready_at = null,
          paused = false,
          due_at = case when worker_id is null then clock_timestamp() + $5::int * interval '1 ms' end
    where tenant_id = $1 and run_id = $2 and stop is null and pending is null
      and phase in ('CREATED', 'AUTHORIZED', 'EXECUTING')
   returning worker_id, lease_token`,
)

export interface StopRequest extends RunKey {
  readonly requestedAt: Date
  readonly by: string
  readonly why: string
  /** How the run ends if nobody executes it. */
  readonly end: PendingEnd
  /** How long the caller has to end it itself before maintenance does, in milliseconds. */
  readonly takeoverMs: number
}

/** `null`: the run is past stopping, or a stop was requested before. `workerId` null: it is the caller's to end. */
export async function requestStop(
  tx: Tx,
  { tenantId, runId, requestedAt, by, why, end, takeoverMs }: StopRequest,
): Promise<{ workerId: string | null; leaseToken: number } | null> {
  const stop = { requestedAt: requestedAt.toISOString(), by, why }
  const [row] = await tx.query<{ worker_id: string | null; lease_token: number }>(REQUEST_STOP, [
    tenantId,
    runId,
    JSON.stringify(stop),
    JSON.stringify(end),
    takeoverMs,
  ])
  return row ? { workerId: row.worker_id, leaseToken: row.lease_token } : null
}

const SWEEP_DUE = statement(
  'runs_sweep_due',
  `update concordat.runs r
      set ready_at = case when r.pending is null then r.due_at end,
          due_at = case when r.pending is not null then clock_timestamp() + $2::int * interval '1 ms' end,
          lease_token = case when r.pending is null then r.lease_token else r.lease_token + 1 end,
          waiting = case when r.pending is null and r.phase = 'EXECUTING' then 'LEASE' else r.waiting end
     from (select ctid from concordat.runs
            where due_at <= clock_timestamp() and not paused order by due_at limit $1 for update skip locked) due
    where r.ctid = due.ctid
   returning r.tenant_id, r.run_id, r.lease_token, r.pending`,
)

const SEIZE = statement(
  'runs_seize_pending',
  `update concordat.runs
      set lease_token = lease_token + 1, due_at = clock_timestamp() + $3::int * interval '1 ms'
    where tenant_id = $1 and run_id = $2 and pending is not null and worker_id is null
   returning tenant_id, run_id, lease_token, pending`,
)

/** A run whose end is known and whose completion is now the caller's to try. */
export interface DueEnd extends RunKey {
  readonly leaseToken: number
  readonly pending: PendingEnd
}

interface DueRow {
  tenant_id: string
  run_id: string
  lease_token: number
  pending: string | null
}

export interface Swept {
  /** Runs whose time has come and that workers can claim now. */
  readonly woken: number
  readonly ends: readonly DueEnd[]
}

/** Looks after runs whose time has come: sleepers and retries become ready, pending ends become the caller's to try. */
export async function sweepDue(tx: Tx, batchMax: number, takeoverMs: number): Promise<Swept> {
  const rows = await tx.query<DueRow>(SWEEP_DUE, [batchMax, takeoverMs])
  const ends = rows.flatMap(toDueEnd)
  return { woken: rows.length - ends.length, ends }
}

/** Takes one run whose end is pending, due or not. */
export async function seizePending(tx: Tx, { tenantId, runId }: RunKey, takeoverMs: number): Promise<DueEnd | null> {
  const rows = await tx.query<DueRow>(SEIZE, [tenantId, runId, takeoverMs])
  return rows.flatMap(toDueEnd)[0] ?? null
}

function toDueEnd(row: DueRow): DueEnd[] {
  if (row.pending === null) return []
  const { tenant_id: tenantId, run_id: runId, lease_token: leaseToken } = row
  return [{ tenantId, runId, leaseToken, pending: JSON.parse(row.pending) as PendingEnd }]
}
