import type { RunKey } from '../../domains/runs/runs.ts'
import { sleep } from '../../foundation/backoff.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import {
  type CompletionContext,
  type CompletionOutcome,
  createGovernanceRecordsForRun,
} from '../completion/completion.ts'
import type { DueEnd, RunOrchestrationKernel, StopNote, StopOrder, StopScope } from '../kernel/kernel.ts'

export interface StoppingContext {
  readonly database: Database
  readonly kernel: RunOrchestrationKernel
  readonly completion: CompletionContext
  readonly clock: Clock
  readonly newId: IdSource
  readonly log: Logger
}

/** What was asked to stop. */
export interface Stopped {
  readonly tenantId: string
  /** The runs that it stopped remember it. */
  readonly orderId: string
  /** How many nobody executed: they are over, or their domains refuse and maintenance goes on. */
  readonly taken: number
}

/** `cancelled`: it is over. `requested`: it will be. `refused`: it is past stopping, or was stopped before. */
export type StopResult = 'cancelled' | 'requested' | 'refused'

/** Stops one run: at once where nobody executes it, else its worker is told. */
export async function stopRun(context: StoppingContext, run: RunKey, note: StopNote): Promise<StopResult> {
  const answer = await context.kernel.requestStop(run, note)
  if (answer.kind === 'refused') return 'refused'
  if (answer.kind === 'executing') return 'requested'
  const outcome = await endNow(context.completion, answer.due)
  return outcome.kind === 'ended' ? 'cancelled' : 'requested'
}

/**
 * Stops a scope's runs: one row that says so, whose push their workers obey at once; then each run is marked, and ended
 * where nobody executes it. If this process dies in between, maintenance goes on. Null: a suspension that was lifted.
 */
export async function stopScope(context: StoppingContext, scope: StopScope, note: StopNote): Promise<Stopped | null> {
  const order = await context.kernel.orderStop(context.database, scope, note)
  return order && carryOut(context, order)
}

/** The rest, after the commit of the order. Workers have marked most of what they execute before this looks. */
export async function carryOut(context: StoppingContext, order: StopOrder): Promise<Stopped> {
  const { tenantId, orderId } = order
  await context.kernel.push({ tenantId, stopOrder: order })
  await sleep(limits.stopOrderHeadStartMs)
  return { tenantId, orderId, taken: await markAll(context, order) }
}

/** Goes on with orders whose process has died. */
export async function sweepStopOrders(context: StoppingContext): Promise<void> {
  for (const order of await context.kernel.takeDueStopOrders()) await markAll(context, order)
}

/**
 * Marks an order's runs and ends those that nobody executes, then closes the order. A claim that had not seen it may be
 * committed after the runs were looked for: so starts are waited for first; what starts later has seen it.
 */
async function markAll(context: StoppingContext, order: StopOrder): Promise<number> {
  const { kernel } = context
  const giveUpAt = performance.now() + limits.stopOrderPatienceMs
  let taken = 0
  for (;;) {
    const passed = await kernel.passStarts(limits.startsPassMs)
    taken += await markFound(context, order)
    if (passed) await kernel.closeStopOrder(order)
    if (passed || performance.now() > giveUpAt) return taken
    await sleep(limits.startsPassMs)
  }
}

/** A bounded number a transaction, those that execute first. */
async function markFound(context: StoppingContext, order: StopOrder): Promise<number> {
  const { kernel } = context
  let taken = 0
  for (;;) {
    const batch = await kernel.markStopped(order)
    // For a worker that has not heard of the order, as one that has claimed the run right before it.
    if (batch.executing.length > 0) await kernel.push({ tenantId: order.tenantId })
    taken += batch.taken.length
    await endTaken(context, batch.taken)
    if (batch.last) return taken
  }
}

/** Ends runs that nobody executes. Whose end fails is left to maintenance, which has it in its row. */
async function endTaken({ completion, log }: StoppingContext, taken: readonly DueEnd[]): Promise<void> {
  const ends = taken.map(async (due) => {
    await endNow(completion, due).catch((error) => {
      log.error({ error, runId: due.runId, tenantId: due.tenantId }, 'a stopped run will be ended by maintenance')
    })
  })
  await Promise.all(ends)
}

/** One try to complete a run whose end is known and that is the caller's to end. */
export function endNow(completion: CompletionContext, due: DueEnd): Promise<CompletionOutcome> {
  const { tenantId, runId, leaseToken, pending } = due
  const lease = { tenantId, runId, workerId: null, leaseToken }
  return createGovernanceRecordsForRun(completion, {
    lease,
    end: pending.end,
    stop: null,
    earlierAttempts: pending.attempts,
    known: null,
  })
}
