import type { PendingEnd, RunKey } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** How long after the start of a run, or its parking, an expectation of it can first be overdue; as SQL. */
export const FIRST_LOOK = `interval '${limits.expectationDeadlineMs} ms'`

const TAKE = statement(
  'runs_take_reconcile_due',
  `update concordat.runs set reconcile_due_at = null
    where ctid = any (array(
      select ctid from concordat.runs where reconcile_due_at <= statement_timestamp()
       order by reconcile_due_at limit $1 for no key update skip locked))
   returning tenant_id as "tenantId", run_id as "runId"`,
)

/**
 * Takes runs that are due to be held against their contract, and looks at none of them again unless the transaction
 * fails or says when. Those that others have are skipped.
 */
export async function takeReconcileDue(tx: Tx, max: number): Promise<RunKey[]> {
  return tx.query<RunKey>(TAKE, [max])
}

/** When a run is to be held against its contract next. */
export interface NextLook extends RunKey {
  readonly dueAt: Date
}

const LOOKS = rowSet<NextLook>({
  tenant_id: ['text', (look) => look.tenantId],
  run_id: ['uuid', (look) => look.runId],
  due_at: ['timestamptz', (look) => look.dueAt],
})

const SCHEDULE = statement(
  'runs_schedule_reconcile',
  `update concordat.runs r set reconcile_due_at = x.due_at
     from ${LOOKS.from(1)} as x
    cross join lateral (
      select a.ctid as address from concordat.runs a where a.tenant_id = x.tenant_id and a.run_id = x.run_id limit 1) a
    where r.ctid = a.address`,
)

/** Writes when the runs, which the caller has taken, are looked at next. */
export async function scheduleReconcile(tx: Tx, looks: readonly NextLook[]): Promise<void> {
  if (looks.length > 0) await tx.query(SCHEDULE, LOOKS.values(looks))
}

/*
 * As long again as it has been wrong, so that the time between two tries doubles without a count of them.
 */
const DEFER = statement(
  'runs_defer_reconcile',
  `update concordat.runs
      set reconcile_due_at = clock_timestamp() + least(interval '${limits.reconcileRetryMsMax} ms',
            greatest(interval '${limits.reconcileRetryMsMin} ms', clock_timestamp() - created_at))
    where tenant_id = $1 and run_id = $2 and ended_at is null`,
)

/** Puts off a run that has not ended and could not be held against its contract: 5 s at first, later up to 5 min. */
export async function deferReconcile(tx: Tx, { tenantId, runId }: RunKey): Promise<void> {
  await tx.query(DEFER, [tenantId, runId])
}

const END_STALE = statement(
  'runs_end_stale',
  `update concordat.runs r
      set worker_id = null, lease_token = lease_token + 1, pending = $3::json, ready_at = null, due_at = clock_timestamp(),
          active_ms = active_ms + coalesce(extract(epoch from clock_timestamp() - active_since) * 1000, 0)::bigint,
          active_since = null
    where tenant_id = $1 and run_id = $2 and phase = 'EXECUTING' and pending is null and not paused
      and not exists (select from concordat.workers w where w.worker_id = r.worker_id and w.expires_at > clock_timestamp())
   returning run_id`,
)

/**
 * Gives an end to a run that is past its time and that no living worker holds; maintenance completes it at once. False
 * when a worker holds it, it is paused, or its end is known already.
 */
export async function endStale(tx: Tx, { tenantId, runId }: RunKey, end: PendingEnd): Promise<boolean> {
  const rows = await tx.query(END_STALE, [tenantId, runId, JSON.stringify(end)])
  return rows.length > 0
}
