import { type Approval, approvalAt } from '../../domains/approvals/approvals.ts'
import type { ChargeReply } from '../../domains/budgets/budgets.ts'
import type { PauseSla } from '../../domains/pauses/pauses.ts'
import { type PendingEnd, pendingEnd, type RunEnd, type RunKey } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Clock } from '../../foundation/clock.ts'
import { GroupCommit } from '../../foundation/group-commit.ts'
import type { IdSource } from '../../foundation/ids.ts'
import { type Database, isRetryable, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type ApprovedStart, type DecisionAnswer, type DecisionOrder, decide, startApproved } from './approving.ts'
import { type AwaitChild, type AwaitedChild, abandonedChildren, awaitChild, stopChildren } from './child-store.ts'
import { claimsUnknownTo } from './claim-store.ts'
import { claimTransaction } from './claim-transaction.ts'
import { type HeardStop, noteHeardStops } from './heard-stops-store.ts'
import { type ChargeRequest, LedgerTransactions, type Recorded } from './ledger-transaction.ts'
import type { Claim, ClaimRequest, Lease, PauseOrder, RecordStep, Release } from './messages.ts'
import { encodePush, ORDERS_CHANNEL, type OrderPush, type Orders, pausesDelivered, readOrders } from './orders-store.ts'
import type { PausedScope } from './paused-run-store.ts'
import { askForPause, type PauseAnswer, type PauseAsk, pauseAsRequested, pauseRun } from './pausing.ts'
import {
  endPausesOf,
  type ResumeAnswer,
  type ResumedBatch,
  type ResumeOrder,
  resumeBatch,
  resumeRun,
  type SweptPauses,
  sweepPauses,
} from './resuming.ts'
import { releaseRun } from './run-store.ts'
import {
  type AwaitedSignal,
  type AwaitSignal,
  awaitSignal,
  receiveSignal,
  refuseAwaited,
  type SignalAnswer,
  type SignalOrder,
} from './signal-transactions.ts'
import { tellStale } from './stale-runs.ts'
import { passStarts } from './starts-pass.ts'
import {
  closeStopOrder,
  liftSuspensionOrders,
  placeStopOrder,
  type StopOrder,
  type StopScope,
  takeDueStopOrders,
} from './stop-order-store.ts'
import {
  dueEndOf,
  requestOf,
  type StopAnswer,
  type StopNote,
  type StoppedBatch,
  stopOrder,
  stoppedBatch,
  stoppedEnd,
  stopRequest,
} from './stop-orders.ts'
import { requestStop, requestStops } from './stop-store.ts'
import { type DueEnd, type Swept, seizePending, sweepDue } from './takeover-store.ts'
import {
  abandonWorker,
  type HeartbeatReply,
  heartbeat,
  type Reaped,
  reapWorkers,
  registerWorker,
  removeWorker,
  type WorkerIdentity,
} from './worker-store.ts'

export type { DeliveredSignal } from '../../domains/signals/signals.ts'
export type { DecisionAnswer, DecisionOrder } from './approving.ts'
export type { AwaitChild, AwaitedChild, EndedChild } from './child-store.ts'
export { type EagerSlot, insertAndStart } from './eager-start.ts'
export type { ChargeRequest } from './ledger-transaction.ts'
export type * from './messages.ts'
export { decodePush, ORDERS_CHANNEL, type OrderPush, type Orders } from './orders-store.ts'
export type { PausedScope } from './paused-run-store.ts'
export type { PauseAnswer } from './pausing.ts'
export { deferReconcile, endStale, type NextLook, scheduleReconcile, takeReconcileDue } from './reconcile-due-store.ts'
export type { ResumeAnswer, ResumedBatch, SweptPause } from './resuming.ts'
export { blockRun, endedUnder, finishRuns, holdRuns } from './run-store.ts'
export type { AwaitedSignal, AwaitSignal, SignalAnswer, SignalOrder } from './signal-transactions.ts'
export { isOrdered, type StopOrder, type StopScope } from './stop-order-store.ts'
export { type StopAnswer, type StopNote, type StoppedBatch, stoppedEnd } from './stop-orders.ts'
export { type EarlierRun, existingRuns, insertChildren, insertRuns, runsByIdempotencyKey } from './submit-store.ts'
export type { DueEnd } from './takeover-store.ts'
export { HEARTBEAT, type HeartbeatReply, removeDeadWorkers, type WorkerIdentity } from './worker-store.ts'

export interface KernelOptions {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly random: () => number
  /** How long a write waits for a database that is away: no longer than a lease lasts anyway. */
  readonly retryForMs: number
  /** How long a run may stay paused, when people are warned, and what follows. */
  readonly pauseSla: PauseSla
  readonly mayTrace: () => boolean
  readonly onTraceError: (error: unknown, runId: string) => void
}

/**
 * The run orchestration kernel: the single authority over a run's lifecycle and the sole writer of its phase. Every
 * write names the state and the lease that it leaves; "no row" is an answer: the lease is lost, or somebody was first.
 */
export class RunOrchestrationKernel {
  readonly #options: KernelOptions
  readonly #steps: GroupCommit<RecordStep, Recorded>
  readonly #charges: GroupCommit<ChargeRequest, Recorded>
  readonly #heardStops: GroupCommit<HeardStop, undefined>

  constructor(options: KernelOptions) {
    this.#options = options
    const { database, retryForMs, random, newId, clock } = options
    const ledger = new LedgerTransactions({ database, newId, now: () => clock.now() })
    const group = { batchMax: limits.stepBatchMax, queueMax: limits.groupQueueMax, retryForMs, isRetryable, random }
    this.#steps = new GroupCommit({
      ...group,
      name: 'step records',
      flushersMax: database.kind === 'postgres' ? 2 : 1,
      flush: (records) => ledger.record(records),
    })
    this.#charges = new GroupCommit({
      ...group,
      name: 'reservations',
      flushersMax: 1,
      flush: (requests) => ledger.charge(requests),
    })
    this.#heardStops = new GroupCommit({
      ...group,
      name: 'heard stops',
      flushersMax: 1,
      flush: async (heard) => {
        await database.transaction(async (tx) => lastFlight(noteHeardStops(tx, heard)))
        return heard.map(() => undefined)
      },
    })
  }

  register(worker: WorkerIdentity): Promise<void> {
    return registerWorker(this.#options.database, worker)
  }

  /** Null when the worker's lease is lost. */
  heartbeat(workerId: string): Promise<HeartbeatReply | null> {
    return heartbeat(this.#options.database, workerId)
  }

  /** Lets an embedded worker's lease run out, as if its process had died. */
  abandon(workerId: string, leaseMs: number): Promise<void> {
    return abandonWorker(this.#options.database, workerId, leaseMs)
  }

  leave(workerId: string): Promise<void> {
    return removeWorker(this.#options.database, workerId)
  }

  claim(request: ClaimRequest): Promise<Claim[]> {
    return claimTransaction(this.#options, request)
  }

  /** What the worker holds without knowing it, after a claim whose reply was lost. */
  claimsUnknownTo(workerId: string, known: readonly string[]): Promise<Claim[]> {
    return claimsUnknownTo(this.#options.database, workerId, known)
  }

  /**
   * Resolves after the commit that holds the step, to what became of its charge if it has one. Fails with `LEASE_LOST`
   * when it is no longer this lease's to write.
   */
  recordStep(record: RecordStep): Promise<ChargeReply | null> {
    return this.#steps.add(record).then((recorded) => {
      return recorded.kind === 'recorded' ? recorded.reply : leaseLost(record.lease)
    })
  }

  /** Changes the ledger of budgets without recording a step. Fails with `LEASE_LOST` as `recordStep` does. */
  async charge(request: ChargeRequest): Promise<ChargeReply | null> {
    const recorded = await this.#charges.add(request)
    return recorded.kind === 'recorded' ? recorded.reply : leaseLost(request.charge)
  }

  /** Gives the run's slot back until it is due. False when the lease is lost or a stop came first. */
  release(release: Release): Promise<boolean> {
    return releaseRun(this.#options.database, release)
  }

  /** Sends a signal to a run: to the step that waits for it, or to be kept for one that will. */
  signal(order: SignalOrder): Promise<SignalAnswer> {
    return this.#options.database.transaction((tx) => receiveSignal(tx, order))
  }

  /** Says that a step waits for a signal, and looks for it. Fails with `LEASE_LOST`. */
  awaitSignal(wait: AwaitSignal): Promise<AwaitedSignal> {
    return this.#options.database.transaction((tx) => awaitSignal(tx, wait))
  }

  /** Takes back from its step a signal that does not fit. Fails with `LEASE_LOST`. */
  refuseSignal(lease: Lease, number: number, why: string): Promise<void> {
    return this.#options.database.transaction((tx) => refuseAwaited(tx, lease, number, why))
  }

  /** Looks for the run that a step has started. Fails with `LEASE_LOST`. */
  awaitChild(wait: AwaitChild): Promise<AwaitedChild> {
    return this.#options.database.transaction((tx) => awaitChild(tx, wait))
  }

  /** Stops runs whose parents have ended and that were left out then. */
  async stopAbandoned(): Promise<void> {
    const { database } = this.#options
    for (const parent of await abandonedChildren(database, limits.sweepBatchMax)) {
      if (await stopChildren(database, parent)) await this.push({ tenantId: parent.tenantId })
    }
  }

  /** Asks for a stop: pushed to the worker that executes the run, or, when nobody does, taken to be ended at once. */
  async requestStop(run: RunKey, note: StopNote): Promise<StopAnswer> {
    const { database, clock } = this.#options
    const request = stopRequest(note, clock.now())
    const stopped = await database.transaction(async (tx) => {
      const row = await requestStop(tx, run, request)
      if (row?.workerId === null) await endPausesOf(tx, [run], 'STOPPED', clock.now())
      return row
    })
    if (!stopped) return { kind: 'refused' }
    if (stopped.workerId === null) return { kind: 'taken', due: dueEndOf(stopped, request) }
    await this.push({ tenantId: run.tenantId, runId: run.runId, stop: true })
    return { kind: 'executing' }
  }

  /**
   * Orders the stop of a scope's runs, in the caller's transaction; `push` it once that is committed: from then on none of
   * them is begun, and none goes on that its worker hears of. Null: a suspension's, and its tenant is not suspended.
   */
  async orderStop(tx: Tx, scope: StopScope, note: StopNote): Promise<StopOrder | null> {
    const { newId, clock } = this.#options
    const order = stopOrder(scope, note, newId(), clock.now())
    return (await placeStopOrder(tx, order)) ? order : null
  }

  /** Marks a bounded number of an order's runs. */
  markStopped(order: StopOrder): Promise<StoppedBatch> {
    const { database, clock } = this.#options
    const request = requestOf(order.stop)
    return database.transaction(async (tx) => {
      const batch = stoppedBatch(await requestStops(tx, order, request), request)
      if (batch.taken.length > 0) await endPausesOf(tx, batch.taken, 'STOPPED', clock.now())
      return batch
    })
  }

  /** None of its runs is left that is not marked. */
  closeStopOrder(order: StopOrder): Promise<void> {
    return closeStopOrder(this.#options.database, order)
  }

  /** Takes orders that nobody goes on with. */
  takeDueStopOrders(): Promise<StopOrder[]> {
    return takeDueStopOrders(this.#options.database)
  }

  /** Its suspensions stop nothing more of a tenant that is let in again. */
  liftSuspensionOrders(tx: Tx, tenantId: string): Promise<void> {
    return liftSuspensionOrders(tx, tenantId)
  }

  /**
   * Waits for the starts of runs that are being committed, `patienceMs` at the most: what starts after them has read what
   * was committed before. False when one of them takes longer.
   */
  passStarts(patienceMs: number): Promise<boolean> {
    return passStarts(this.#options.database, patienceMs)
  }

  /** Pauses a run for the worker that executes it. False when the lease is lost or a stop came first. */
  pause(lease: Lease, order: PauseOrder): Promise<boolean> {
    return pauseRun(this.#options, lease, order)
  }

  /** The same as a person has asked for it. False also when that was withdrawn. */
  pauseAsRequested(lease: Lease): Promise<boolean> {
    return pauseAsRequested(this.#options, lease)
  }

  /** Asks for a pause: of a run that nobody executes at once, else before its next step. */
  async requestPause(ask: PauseAsk): Promise<PauseAnswer> {
    const { answer, workerId } = await askForPause(this.#options, ask)
    if (workerId !== null) await this.push({ tenantId: ask.tenantId, runId: ask.runId, pause: true })
    return answer
  }

  /** Ends the pause of a run, once. */
  resume(order: ResumeOrder): Promise<ResumeAnswer> {
    return resumeRun(this.#options, order)
  }

  /** Ends the pauses of a bounded number of a scope's runs, from an id on. */
  resumeBatch(scope: PausedScope, order: Omit<ResumeOrder, keyof RunKey>, after: string): Promise<ResumedBatch> {
    return resumeBatch(this.#options, scope, order, after)
  }

  /** The latest approval that a step has asked for; null when it has asked for none. */
  approvalAt(run: RunKey, stepKey: string): Promise<Approval | null> {
    return approvalAt(this.#options.database, run, stepKey)
  }

  /** Decides an approval, and lets its run go on with that, once. */
  decideApproval(order: DecisionOrder): Promise<DecisionAnswer> {
    return decide(this.#options, order)
  }

  /** Uses an approval up for a step that starts with that. False: its time is over. Fails with `LEASE_LOST`. */
  startApproved(lease: Lease, start: ApprovedStart): Promise<boolean> {
    return startApproved(this.#options, lease, start)
  }

  /** What is due of pauses though nobody asks: warnings, timeouts, rate limits that have room again. */
  sweepPauses(): Promise<SweptPauses> {
    return sweepPauses(this.#options)
  }

  /** Nudges the workers that it concerns to read their orders. Losing it costs a heartbeat's time. */
  push(push: OrderPush): Promise<void> {
    return this.#options.database.notify(ORDERS_CHANNEL, encodePush(push))
  }

  orders(workerId: string): Promise<Orders> {
    return readOrders(this.#options.database, workerId)
  }

  /** Notes when their worker heard of these pauses. */
  pausesDelivered(runs: readonly RunKey[], at: Date): Promise<void> {
    return pausesDelivered(this.#options.database, runs, at)
  }

  /** Notes when the run's worker heard of its stop; its row has the stop afterwards. */
  async noteHeardStop(heard: HeardStop): Promise<void> {
    await this.#heardStops.add(heard)
  }

  /** Runs whose time has come: sleepers become ready, pending ends are returned for completion. */
  sweepDue(): Promise<Swept> {
    return sweepDue(this.#options.database, limits.sweepBatchMax, limits.takeoverMs)
  }

  /** Takes a run whose end is pending so that the caller can try to complete it now. Null: nothing is pending. */
  seizePending(run: RunKey): Promise<DueEnd | null> {
    return seizePending(this.#options.database, run, limits.takeoverMs)
  }

  /** Releases the runs of workers whose lease ran out. Those that have lost too many get an end, and an alert tells of it. */
  reap(): Promise<Reaped> {
    const { database, clock, newId } = this.#options
    const end = workerLostEnd()
    return database.transaction(async (tx) => {
      const stopped = stoppedEnd({ kind: 'stop', by: 'request', why: 'its worker was lost' })
      const ends = { lost: JSON.stringify(pendingEnd(end)), stopped: JSON.stringify(pendingEnd(stopped)) }
      const reaped = await reapWorkers(tx, limits.workerLossesMax, ends)
      const lost = reaped.runs.filter((run) => run.lost)
      await tellStale(tx, lost, `${end.message}; it is failed`, { at: clock.now(), newId })
      return reaped
    })
  }
}

function leaseLost({ runId }: Pick<RunKey, 'runId'>): never {
  throw new AppError('LEASE_LOST', `run ${runId} is no longer this worker's to write`)
}

/** How a run ends that is past its time and that nobody executes. */
export function staleEnd(): PendingEnd {
  const message = 'it was past its deadline, and no living worker had it'
  const error = { name: 'AppError', code: 'RUN_STALE', message }
  return pendingEnd({ outcome: 'failed', reason: 'RUN_STALE', message, error, output: null, lastStepRecorded: false })
}

function workerLostEnd(): RunEnd {
  const message = `${limits.workerLossesMax + 1} workers were lost while they executed it`
  const error = { name: 'AppError', code: 'WORKER_LOST', message }
  return { outcome: 'failed', reason: 'WORKER_LOST', message, error, output: null, lastStepRecorded: false }
}
