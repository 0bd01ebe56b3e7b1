import type { PendingEnd, RunKey } from '../../domains/runs/runs.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'

const SWEEP_DUE = statement(
  'runs_sweep_due',
  `update concordat.runs r
      set ready_at = case when r.pending is null then r.due_at end,
          due_at = case when r.pending is not null then clock_timestamp() + $2::int * interval '1 ms' end,
          lease_token = case when r.pending is null then r.lease_token else r.lease_token + 1 end,
          waiting = case when r.pending is null and r.phase = 'EXECUTING' then 'LEASE' else r.waiting end
     from (select ctid from concordat.runs
            where due_at <= statement_timestamp() and not paused order by due_at limit $1 for update skip locked) due
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
