import type { PauseReason } from '../../domains/pauses/pauses.ts'
import type { PendingEnd, RunKey, RunPhase, RunStatus } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Lease, PauseRequest } from './messages.ts'
import { LET_GO } from './run-store.ts'

/** Database time: who pauses or resumes may be on a machine whose clock is wrong. */
export async function databaseNow(tx: Tx): Promise<Date> {
  const [row] = await tx.query<{ now: Date }>('select clock_timestamp() as now')
  return row?.now as Date
}

const UNDER_LEASE = `tenant_id = $1 and run_id = $2 and worker_id = $3 and lease_token = $4 and stop is null
      and phase = 'EXECUTING'`

function leaseValues({ tenantId, runId, workerId, leaseToken }: Lease): unknown[] {
  return [tenantId, runId, workerId, leaseToken]
}

const PAUSE = statement(
  'runs_pause',
  `update concordat.runs
      set ${LET_GO}, paused = true, waiting = null, ready_at = null, due_at = $5,
          pause_request = case when pause_request ->> 'pauseId' = $6 then null else pause_request end
    where ${UNDER_LEASE}
   returning run_id`,
)

/** Takes a run off its worker and pauses it. False when the lease is lost or a stop came first. */
export async function pauseLeased(tx: Tx, lease: Lease, pauseId: string, dueAt: Date | null): Promise<boolean> {
  const rows = await tx.query(PAUSE, [...leaseValues(lease), dueAt?.toISOString() ?? null, pauseId])
  return rows.length > 0
}

const REQUESTED = statement(
  'runs_pause_requested',
  `select pause_request as request from concordat.runs where ${UNDER_LEASE} and pause_request is not null for no key update`,
)

/** Locks the run and reads the pause that was asked of it; null when none is, or it is not this lease's any more. */
export async function lockRequestedPause(tx: Tx, lease: Lease): Promise<PauseRequest | null> {
  const [row] = await tx.query<{ request: PauseRequest }>(REQUESTED, leaseValues(lease))
  return row?.request ?? null
}

const IDLE = `(worker_id is null and phase = 'EXECUTING')`
/*
 * A run that nobody executes is paused at once. One that is queued or under a worker keeps the request: its next claim,
 * or that worker, pauses it before the next step.
 */
const REQUEST = statement(
  'runs_request_pause',
  `update concordat.runs
      set paused = ${IDLE}, waiting = case when ${IDLE} then null else waiting end,
          ready_at = case when ${IDLE} then null else ready_at end, due_at = case when ${IDLE} then $4 else due_at end,
          pause_request = case when ${IDLE} then null else $3::jsonb end
    where tenant_id = $1 and run_id = $2 and stop is null and pending is null and not paused and pause_request is null
      and phase in ('CREATED', 'AUTHORIZED', 'EXECUTING')
   returning paused, worker_id`,
)

/** Null: it is paused already, a pause is requested already, or it is past pausing. */
export async function requestPause(
  tx: Tx,
  { tenantId, runId }: RunKey,
  request: PauseRequest,
  dueAt: Date | null,
): Promise<{ paused: boolean; workerId: string | null } | null> {
  const [row] = await tx.query<{ paused: boolean; worker_id: string | null }>(REQUEST, [
    tenantId,
    runId,
    JSON.stringify(request),
    dueAt?.toISOString() ?? null,
  ])
  return row ? { paused: row.paused, workerId: row.worker_id } : null
}

const LOCK = statement(
  'runs_lock_for_resume',
  `select phase, status, paused,
          pause_request is not null and stop is null and pending is null and phase in ('CREATED', 'AUTHORIZED', 'EXECUTING') as requested
     from concordat.runs where tenant_id = $1 and run_id = $2 for no key update`,
)

export interface ResumableRun {
  readonly phase: RunPhase
  readonly status: RunStatus
  readonly paused: boolean
  /** A pause of it was requested and can still begin. */
  readonly requested: boolean
}

/** Locks a run whose pause somebody wants to end. Null: there is no such run. */
export async function lockForResume(tx: Tx, { tenantId, runId }: RunKey): Promise<ResumableRun | null> {
  const [row] = await tx.query<ResumableRun>(LOCK, [tenantId, runId])
  return row ?? null
}

/** Paused runs of one tenant. */
export interface PausedScope {
  readonly tenantId: string
  /** Null: of every agent. */
  readonly agent: string | null
  /** Null: whatever they are paused for. */
  readonly reason: PauseReason | null
}

const LOCK_SCOPE = statement(
  'runs_lock_paused_of',
  `with paused as materialized (
     select run_id from concordat.runs
      where paused and tenant_id = $1 and pending is null and run_id > $4::uuid and ($2::text is null or agent = $2)
   ),
   next as (
     select run_id from paused p
      where $3::text is null
         or exists (select from concordat.pauses o
                     where o.tenant_id = $1 and o.run_id = p.run_id and o.ended_at is null and o.reason = $3)
      order by run_id limit $5
   )
   select r.tenant_id as "tenantId", r.run_id as "runId" from (select run_id from next order by run_id) n
    cross join lateral (
      select * from concordat.runs r where r.tenant_id = $1 and r.run_id = n.run_id limit 1 for no key update) r
    where r.paused and r.pending is null`,
)

/** Locks a bounded number of paused runs, by their ids from there on. */
export async function lockPausedOf(
  tx: Tx,
  { tenantId, agent, reason }: PausedScope,
  after: string,
  batchMax: number,
): Promise<RunKey[]> {
  return tx.query<RunKey>(LOCK_SCOPE, [tenantId, agent, reason, after, batchMax])
}

/** A paused run that goes on. */
export interface WokenRun extends RunKey {
  /** Set when it goes on under the policies that are in force then. */
  readonly policiesAsOf: Date | null
}

const WOKEN = rowSet<WokenRun>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  policies_as_of: ['timestamptz', (run) => run.policiesAsOf],
})
const WAKE = statement(
  'runs_resume',
  `update concordat.runs r
      set paused = false, ready_at = clock_timestamp(), due_at = null,
          policies_as_of = coalesce(x.policies_as_of, r.policies_as_of)
     from ${WOKEN.from(1)} as x
    where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.paused and r.pending is null
   returning r.run_id`,
)

/** Makes paused runs ready to be claimed. Returns the ids of those that were paused until now. */
export async function wakePaused(tx: Tx, runs: readonly WokenRun[]): Promise<Set<string>> {
  if (runs.length === 0) return new Set()
  const rows = await tx.query<{ run_id: string }>(WAKE, WOKEN.values(runs))
  return new Set(rows.map((row) => row.run_id))
}

const WITHDRAW = statement(
  'runs_withdraw_pause',
  'update concordat.runs set pause_request = null where tenant_id = $1 and run_id = $2 and pause_request is not null',
)

/** Takes back a pause that was requested and has not begun. */
export async function withdrawPause(tx: Tx, { tenantId, runId }: RunKey): Promise<void> {
  await tx.query(WITHDRAW, [tenantId, runId])
}

const DUE = statement(
  'runs_paused_due',
  `select tenant_id as "tenantId", run_id as "runId", clock_timestamp() as now from concordat.runs
    where paused and pending is null and due_at <= statement_timestamp()
    order by due_at limit $1 for no key update skip locked`,
)

/** Locks paused runs of whose pauses something is due, with the database's time. */
export async function lockDuePaused(tx: Tx, batchMax: number): Promise<(RunKey & { readonly now: Date })[]> {
  return tx.query<RunKey & { now: Date }>(DUE, [batchMax])
}

/** True when there are such runs, whoever may have locked them: one look at an index. */
export async function isPausedDue(tx: Tx): Promise<boolean> {
  return (await tx.query(IS_DUE)).length > 0
}

const IS_DUE = statement(
  'runs_is_paused_due',
  'select from concordat.runs where paused and pending is null and due_at <= statement_timestamp() limit 1',
)

interface DueMove extends RunKey {
  readonly dueAt: Date | null
}

const MOVES = rowSet<DueMove>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  due_at: ['timestamptz', (run) => run.dueAt],
})
const MOVE = statement(
  'runs_paused_move',
  `update concordat.runs r set due_at = x.due_at from ${MOVES.from(1)} as x
    where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.paused and r.pending is null`,
)

/** Sets when to look at paused runs next. */
export async function movePausedDue(tx: Tx, runs: readonly DueMove[]): Promise<void> {
  if (runs.length > 0) await tx.query(MOVE, MOVES.values(runs))
}

interface PausedEnd extends RunKey {
  readonly pending: PendingEnd
}

const PAUSED_ENDS = rowSet<PausedEnd>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  pending: ['json', (run) => JSON.stringify(run.pending)],
})
const SEIZE = statement(
  'runs_paused_seize',
  `update concordat.runs r
      set paused = false, lease_token = r.lease_token + 1, pending = x.pending,
          due_at = clock_timestamp() + $1::int * interval '1 ms'
     from ${PAUSED_ENDS.from(2)} as x
    where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.paused and r.pending is null
   returning r.run_id as "runId", r.lease_token as "leaseToken"`,
)

/** Takes paused runs to be ended, with how they end; maintenance tries again after `takeoverMs` if the caller dies. */
export async function seizePaused(
  tx: Tx,
  runs: readonly PausedEnd[],
  takeoverMs: number,
): Promise<Map<string, number>> {
  if (runs.length === 0) return new Map()
  type Row = { runId: string; leaseToken: number }
  const rows = await tx.query<Row>(SEIZE, [takeoverMs, ...PAUSED_ENDS.values(runs)])
  return new Map(rows.map(({ runId, leaseToken }) => [runId, leaseToken]))
}
