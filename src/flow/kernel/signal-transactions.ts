import type { RunKey, RunPhase, RunStatus } from '../../domains/runs/runs.ts'
import {
  closeWait,
  type DeliveredSignal,
  earlierSignal,
  insertSignal,
  keptSignals,
  nextWait,
  openWait,
  refuseSignal,
  type SignalState,
  type SignalWait,
  takeSignal,
} from '../../domains/signals/signals.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { EncodedPayload } from '../../foundation/payload-codec.ts'
import { lastFlight, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { Lease } from './messages.ts'
import { aliveSql } from './worker-store.ts'

/** A signal for a run. */
export interface SignalOrder extends RunKey {
  /** The sender's own id, under which it may be sent again, or a new one. */
  readonly signalId: string
  readonly name: string
  readonly payload: EncodedPayload
  readonly by: string
  /** Fails unless the payload fits the schema of the step that waits: JSON Schema as text. */
  readonly check: (schema: string) => void
}

/**
 * `sent`: it is stored, and `woken` says that the run goes on with it. `ended`: the run takes no signals any more.
 * `conflict`: the id was used for another signal.
 */
export type SignalAnswer =
  | { readonly kind: 'sent'; readonly state: SignalState; readonly deduplicated: boolean; readonly woken: boolean }
  | { readonly kind: 'ended'; readonly status: RunStatus; readonly phase: RunPhase }
  | { readonly kind: 'conflict' }

const LOCK = statement(
  'runs_lock_for_signal',
  `select phase, status, signal_count as "signalCount",
          phase in ('CREATED', 'AUTHORIZED', 'EXECUTING') and stop is null and pending is null as open
     from concordat.runs where tenant_id = $1 and run_id = $2 for no key update`,
)

interface LockedRun {
  readonly phase: RunPhase
  readonly status: RunStatus
  readonly signalCount: number
  readonly open: boolean
}

/*
 * A run that waits becomes ready. One that is paused, or that a worker holds, does not: it finds the signal when it goes
 * on. The count goes up in any case, so that a worker which is about to release the run sees that it must look again.
 */
const COUNT_SIGNAL = statement(
  'runs_count_signal',
  `update concordat.runs r
      set signal_count = r.signal_count + 1,
          ready_at = case when woken then clock_timestamp() else r.ready_at end,
          due_at = case when woken then null else r.due_at end,
          waiting = case when woken then 'LEASE' else r.waiting end
     from (select $3::boolean and phase = 'EXECUTING' and waiting is not null and worker_id is null and ready_at is null
                      and not paused as woken
             from concordat.runs where tenant_id = $1 and run_id = $2) now
    where r.tenant_id = $1 and r.run_id = $2
   returning woken`,
)

/**
 * Stores a signal for the step that waits for it, which then has it, or keeps it for one that will. Fails as `check`
 * does, and with `TOO_MANY_SIGNALS`.
 */
export async function receiveSignal(tx: Tx, order: SignalOrder): Promise<SignalAnswer> {
  const { tenantId, runId } = order
  const [[run], earlier, wait, kept] = await Promise.all([
    tx.query<LockedRun>(LOCK, [tenantId, runId]),
    earlierSignal(tx, order),
    nextWait(tx, order),
    keptSignals(tx, order),
  ])
  if (earlier) {
    const same = earlier.name === order.name && earlier.payloadDigest === order.payload.digest
    return same ? { kind: 'sent', state: earlier.state, deduplicated: true, woken: false } : { kind: 'conflict' }
  }
  if (!run) throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
  if (!run.open) return { kind: 'ended', status: run.status, phase: run.phase }
  if (wait?.schema) order.check(wait.schema)
  refuseTooMany(run, kept, wait !== null)
  const number = run.signalCount + 1
  const [, rows] = await Promise.all([
    insertSignal(tx, { ...order, number, stepKey: wait?.stepKey ?? null }),
    tx.query<{ woken: boolean }>(COUNT_SIGNAL, [tenantId, runId, wait !== null]),
  ])
  const state = wait ? 'delivered' : 'kept'
  return { kind: 'sent', state, deduplicated: false, woken: rows[0]?.woken ?? false }
}

function refuseTooMany({ signalCount }: LockedRun, kept: number, awaited: boolean): void {
  if (signalCount >= limits.signalsPerRunMax) {
    throw new AppError('TOO_MANY_SIGNALS', `the run has got ${signalCount} signals, the most that a run can get`)
  }
  if (!awaited && kept >= limits.signalsKeptMax) {
    throw new AppError(
      'TOO_MANY_SIGNALS',
      `${kept} signals are kept for the run already, and no step waits for this one`,
    )
  }
}

/** A step that waits for a signal, under the lease of its run. */
export interface AwaitSignal extends Omit<SignalWait, 'tenantId' | 'runId'> {
  readonly lease: Lease
}

/** `none`: it waits on; `seen` is what the run's release names, so that a signal which comes before it is not missed. */
export type AwaitedSignal =
  | ({ readonly kind: 'signal' } & DeliveredSignal)
  | { readonly kind: 'timed_out' }
  | { readonly kind: 'none'; readonly seen: number }

const HOLD = statement(
  'runs_hold_for_wait',
  `with ${aliveSql('$3')}
   select signal_count as seen from concordat.runs
    where tenant_id = $1 and run_id = $2 and lease_token = $4 and worker_id in (select worker_id from alive)
      for no key update`,
)

/** Locks a run that its worker executes, and tells how many signals it has got. Fails with `LEASE_LOST`. */
export async function holdLease(tx: Tx, { tenantId, runId, workerId, leaseToken }: Lease): Promise<number> {
  const [held] = await tx.query<{ seen: number }>(HOLD, [tenantId, runId, workerId, leaseToken])
  if (held) return held.seen
  throw new AppError('LEASE_LOST', `run ${runId} is no longer this worker's to write`)
}

/** Says that the step waits, and looks whether its signal is there or its time is over. Fails with `LEASE_LOST`. */
export async function awaitSignal(tx: Tx, { lease, ...asked }: AwaitSignal): Promise<AwaitedSignal> {
  const wait = { ...asked, tenantId: lease.tenantId, runId: lease.runId }
  const seen = await holdLease(tx, lease)
  const [, signal, timedOut] = await Promise.all([openWait(tx, wait), takeSignal(tx, wait), closeWait(tx, wait)])
  if (signal) return { kind: 'signal', ...signal }
  return timedOut ? { kind: 'timed_out' } : { kind: 'none', seen }
}

/** Refuses a signal that its step can't take, and says why. Fails with `LEASE_LOST`. */
export async function refuseAwaited(tx: Tx, lease: Lease, number: number, why: string) {
  await holdLease(tx, lease)
  const { tenantId, runId } = lease
  return lastFlight(refuseSignal(tx, { tenantId, runId, number }, why))
}
