import { endPausesOfChildren } from '../../domains/pauses/pauses.ts'
import { pendingEnd, type RunKey, type RunStatus, type RunStop } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import type { FinishedRun, Lease } from './messages.ts'
import { stoppedEnd } from './stop-orders.ts'
import { announce, STOP, STOPPABLE, stopValues } from './stop-store.ts'

/** A step that waits for the run that it has started. */
export interface AwaitChild {
  readonly lease: Lease
  /** The child's idempotency key. */
  readonly key: string
}

/** A run that a step has started, as its parent sees it; payloads as JSON text. */
export interface EndedChild {
  readonly runId: string
  readonly status: RunStatus
  readonly reason: string | null
  readonly output: string | null
  readonly error: string | null
  readonly tokensIn: bigint | null
  readonly tokensOut: bigint | null
  readonly costNanoUsd: bigint | null
}

/** `none`: it has not ended; `seen` is what the parent's release names, so that an end which comes before it is not missed. */
export type AwaitedChild =
  | { readonly kind: 'absent' }
  | { readonly kind: 'none'; readonly seen: number }
  | { readonly kind: 'ended'; readonly child: EndedChild }

const HOLD = statement(
  'runs_hold_for_child',
  `select signal_count as seen from concordat.runs
    where tenant_id = $1 and run_id = $2 and worker_id = $3 and lease_token = $4 for no key update`,
)

const CHILD = statement(
  'runs_child_of_step',
  `select run_id as "runId", status, reason, output, error, tokens_in as "tokensIn", tokens_out as "tokensOut",
          cost_nano_usd as "costNanoUsd", ended_at is not null as ended
     from concordat.runs where tenant_id = $1 and idempotency_key = $2 and parent_run_id = $3`,
)

/**
 * Looks for a step's child with its parent locked: whatever ends the child locks the parent too, so either its end is
 * seen here, or it is counted after `seen`. Fails with `LEASE_LOST`.
 */
export async function awaitChild(tx: Tx, { lease, key }: AwaitChild): Promise<AwaitedChild> {
  const { tenantId, runId, workerId, leaseToken } = lease
  const [[held], [child]] = await Promise.all([
    tx.query<{ seen: number }>(HOLD, [tenantId, runId, workerId, leaseToken]),
    tx.query<EndedChild & { readonly ended: boolean }>(CHILD, [tenantId, key, runId]),
  ])
  if (!held) throw new AppError('LEASE_LOST', `run ${runId} is no longer this worker's to write`)
  if (!child) return { kind: 'absent' }
  return child.ended ? { kind: 'ended', child } : { kind: 'none', seen: held.seen }
}

/*
 * One statement a parent, each of one row by its key: the form that looks again at a row it had to wait for. A parent
 * that is held or paused is not made ready; it finds the end when it looks, since the count of what came for it goes up.
 */
const WOKEN = `(phase = 'EXECUTING' and waiting is not null and worker_id is null and ready_at is null
                 and pending is null and not paused)`
const WAKE_PARENT = statement(
  'runs_wake_parent',
  `update concordat.runs
      set signal_count = signal_count + 1,
          ready_at = case when ${WOKEN} then clock_timestamp() else ready_at end,
          due_at = case when ${WOKEN} then null else due_at end,
          waiting = case when ${WOKEN} then 'LEASE' else waiting end
    where tenant_id = $1 and run_id = $2 and phase = 'EXECUTING'`,
)

/*
 * A child that is locked is being ended, claimed or told something: waiting for it here could be waiting for each other.
 * Maintenance stops what is left out.
 */
const STOP_CHILDREN = statement(
  'runs_stop_children',
  `with child as (
     select ctid as address from concordat.runs
      where tenant_id = $1 and parent_run_id = $2 and ${STOPPABLE} for no key update skip locked
   ),
   stopped as (
     update concordat.runs
        set ${STOP('$3', '$4', '$5')}
       from child
      where runs.ctid = child.address
     returning tenant_id, run_id, worker_id
   ),
   event as (${announce('$6', '$7')})
   select from stopped where worker_id is not null`,
)

/** In the commit that ends runs: wakes the parents that wait for them, and stops the children that they leave behind. */
export async function endFamilies(tx: Tx, runs: readonly FinishedRun[]): Promise<void> {
  const children = runs.filter(({ parentRunId }) => parentRunId !== null)
  const parents = new Map(children.map(({ tenantId, parentRunId }) => [parentRunId, tenantId]))
  const inOrder = [...parents].toSorted(([a], [b]) => ((a ?? '') < (b ?? '') ? -1 : 1))
  await Promise.all([
    ...inOrder.map(([runId, tenantId]) => tx.query(WAKE_PARENT, [tenantId, runId])),
    ...runs.filter((run) => run.hasOpenChildren).map((run) => stopChildren(tx, { ...run, status: run.outcome })),
  ])
}

/** A run that has ended, and may have children that have not. */
export interface EndedParent extends RunKey {
  readonly status: RunStatus
  readonly endedAt: Date
}

/** Stops what a run leaves behind. What nobody executes is due at once: the next sweep ends it. True: workers are to be told. */
export async function stopChildren(tx: Tx, { tenantId, runId, status, endedAt }: EndedParent): Promise<boolean> {
  const stop: RunStop = {
    kind: 'parent',
    by: runId,
    why: `it has ended as ${status}`,
    requestedAt: endedAt.toISOString(),
  }
  const request = { stop, end: pendingEnd(stoppedEnd(stop)), takeoverMs: 0 }
  const [executing] = await Promise.all([
    tx.query(STOP_CHILDREN, [tenantId, runId, ...stopValues(request)]),
    endPausesOfChildren(tx, { tenantId, runId }, endedAt),
  ])
  return executing.length > 0
}

const ABANDONED = statement(
  'runs_abandoned_by_parents',
  `select distinct p.tenant_id as "tenantId", p.run_id as "runId", p.status, p.ended_at as "endedAt"
     from concordat.runs c
    cross join lateral (
      select * from concordat.runs p
       where p.tenant_id = c.tenant_id and p.run_id = c.parent_run_id and p.phase in ('COMPLETED', 'FAILED') limit 1) p
    where c.parent_run_id is not null and c.phase in ('CREATED', 'AUTHORIZED', 'EXECUTING')
      and c.stop is null and c.pending is null
    limit $1`,
)

/** Runs that have ended and whose children go on: what `endFamilies` had to leave out. */
export async function abandonedChildren(tx: Tx, max: number): Promise<EndedParent[]> {
  return tx.query<EndedParent>(ABANDONED, [max])
}
