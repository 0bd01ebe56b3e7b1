import { releaseReservations } from '../../domains/budgets/budgets.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { type Orders, ordersSql } from './orders-store.ts'

/** SQL of a table `alive`: those of these workers whose leases hold, which nobody can remove before the transaction ends. */
export function aliveSql(workers: string): string {
  return `alive as (
     select worker_id from concordat.workers where worker_id = ${workers} and expires_at > clock_timestamp() for key share
   )`
}

export interface WorkerIdentity {
  readonly workerId: string
  /** For people: host and process id. */
  readonly process: string
  readonly concurrency: number
  /** Null on the embedded database: its workers live exactly as long as the one process, so their lease does not run out. */
  readonly leaseMs: number | null
}

const REGISTER = statement(
  'workers_register',
  `insert into concordat.workers (worker_id, process, concurrency, lease_ms, expires_at)
   values ($1, $2, $3, coalesce($4::int, 0), coalesce(clock_timestamp() + $4::int * interval '1 ms', 'infinity'))`,
)

export async function registerWorker(
  tx: Tx,
  { workerId, process, concurrency, leaseMs }: WorkerIdentity,
): Promise<void> {
  await tx.query(REGISTER, [workerId, process, concurrency, leaseMs])
}

/** Extends the lease unless it has run out: what was past its lease stays past it. Brings the worker's orders along. */
export const HEARTBEAT = statement(
  'workers_heartbeat',
  `with beat as (
     update concordat.workers
        set heartbeat_at = clock_timestamp(),
            expires_at = case when lease_ms > 0 then clock_timestamp() + lease_ms * interval '1 ms' else expires_at end
      where worker_id = $1 and expires_at > clock_timestamp()
     returning worker_id
   )
   select extract(epoch from clock_timestamp()) * 1000 as now_ms, ${ordersSql('beat.worker_id')} as orders
     from beat`,
)

export interface HeartbeatReply {
  /** Database time in milliseconds since the epoch. */
  readonly nowMs: number
  /** The same as `readOrders` gives: the safety net for a lost push. */
  readonly orders: Orders
}

/** Null: the lease is lost, and the worker must write nothing more. */
export async function heartbeat(tx: Tx, workerId: string): Promise<HeartbeatReply | null> {
  const [row] = await tx.query<{ now_ms: string; orders: Orders }>(HEARTBEAT, [workerId])
  return row ? { nowMs: Number(row.now_ms), orders: row.orders } : null
}

/** Gives a worker's lease an end, as a death would: for embedded workers, which have none of their own. */
export async function abandonWorker(tx: Tx, workerId: string, leaseMs: number): Promise<void> {
  await tx.query(
    `update concordat.workers set expires_at = clock_timestamp() + $2::int * interval '1 ms' where worker_id = $1`,
    [workerId, leaseMs],
  )
}

/** A worker that leaves: its row goes, and with it the right to write. Its runs must have been released before. */
export async function removeWorker(tx: Tx, workerId: string): Promise<void> {
  await tx.query('delete from concordat.workers where worker_id = $1', [workerId])
}

/**
 * For whoever has just opened the embedded database: its workers' leases never run out, so those that it still holds
 * are of a process that died. The next reaping releases their runs.
 */
export async function removeDeadWorkers(tx: Tx): Promise<void> {
  await tx.query('delete from concordat.workers')
}

const REMOVE_EXPIRED = statement(
  'workers_remove_expired',
  `delete from concordat.workers where worker_id in (
     select worker_id from concordat.workers where expires_at < clock_timestamp() for update skip locked)
   returning worker_id`,
)

/*
 * A statement of its own after the removal, so that it sees what those workers claimed until their rows were gone.
 * Whoever is not held by a living worker is released; the raised token fences the one that held it. A run that was to
 * stop is not executed again only to hear that: its end is known, and a suspended tenant's runs are not even claimed.
 */
const RELEASE_ORPHANS = statement(
  'runs_release_orphans',
  `update concordat.runs r
      set worker_id = null, lease_token = lease_token + 1, worker_losses = worker_losses + 1,
          active_ms = active_ms + coalesce(extract(epoch from clock_timestamp() - active_since) * 1000, 0)::bigint,
          active_since = null, waiting = 'LEASE',
          ready_at = case when worker_losses < $1 and stop is null then clock_timestamp() end,
          due_at = case when worker_losses >= $1 or stop is not null then clock_timestamp() end,
          pending = case when stop is not null then $3::json when worker_losses >= $1 then $2::json else pending end
    where worker_id is not null and not exists (select from concordat.workers w where w.worker_id = r.worker_id)
   returning run_id, tenant_id, worker_losses > $1 and stop is null as lost`,
)

export interface ReapedRun extends RunKey {
  /** It has lost too many workers and is given an end. */
  readonly lost: boolean
}

export interface Reaped {
  readonly workers: readonly string[]
  readonly runs: readonly ReapedRun[]
}

/** Releases the runs of dead workers, and what they had reserved of budgets. One that has lost too many workers, or was to stop, gets how it ends. */
export async function reapWorkers(
  tx: Tx,
  lossesMax: number,
  ends: { readonly lost: string; readonly stopped: string },
): Promise<Reaped> {
  const workers = await tx.query<{ worker_id: string }>(REMOVE_EXPIRED)
  const runs = await tx.query<{ run_id: string; tenant_id: string; lost: boolean }>(RELEASE_ORPHANS, [
    lossesMax,
    ends.lost,
    ends.stopped,
  ])
  const released = runs.map((row) => ({ tenantId: row.tenant_id, runId: row.run_id, lost: row.lost }))
  await releaseReservations(tx, released, 'not executed')
  return { workers: workers.map((row) => row.worker_id), runs: released }
}
