import { backoffMs, sleep } from '../../foundation/backoff.ts'
import { limits } from '../../limits.ts'
import { block, recordRollback } from './blocked-completion.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionOutcome, CompletionRequest } from './completion-request.ts'
import { completeLegacy } from './legacy-completion.ts'
import type { RunCompletionTransaction } from './run-completion-transaction.ts'
import { TransactionFailed, TransactionPhase } from './transaction-result.ts'

export interface CompletionContext extends CompletionOptions {
  readonly transaction: RunCompletionTransaction
}

const RETRY_BASE_MS = 25
const RETRY_CAP_MS = 250

/** The runner's one way to end a run: picks the atomic or the legacy path by TRANSACTION_COORDINATOR_ENABLED. */
export async function createGovernanceRecordsForRun(
  context: CompletionContext,
  request: CompletionRequest,
): Promise<CompletionOutcome> {
  const outcome = context.coordinatorEnabled
    ? await createGovernanceRecordsAtomic(context, request)
    : await createGovernanceRecordsLegacy(context, request)
  if (outcome.kind === 'ended') {
    context.metrics.counter('concordat_runs_ended_total').inc({ status: outcome.status })
    if (outcome.finished?.hasOpenChildren) context.onChildrenStopped(request.lease.tenantId)
  }
  return outcome
}

/** All domains in one commit. When they do not agree: the legacy path if the fallback is on, else the run is parked. */
export async function createGovernanceRecordsAtomic(
  context: CompletionContext,
  request: CompletionRequest,
): Promise<CompletionOutcome> {
  // A run that was parked before gets one try a sweep; its backoff is between the sweeps.
  const triesMax = request.earlierAttempts > 0 || context.fallbackToLegacy ? 1 : limits.completionAttemptsMax
  for (let tried = 0; ; ) {
    const known = tried === 0 ? request.known : null
    const attempt = { ...request, known, earlierAttempts: request.earlierAttempts + tried }
    try {
      return await context.transaction.execute(attempt)
    } catch (error) {
      if (!(error instanceof TransactionFailed)) throw error
      await recordRollback(context, attempt, error)
      tried++
      if (tried < triesMax) {
        await sleep(backoffMs({ attempt: tried, baseMs: RETRY_BASE_MS, capMs: RETRY_CAP_MS, random: context.random }))
      } else if (context.fallbackToLegacy) {
        context.metrics.counter('concordat_completion_legacy_fallbacks_total').inc({})
        return createGovernanceRecordsLegacy(context, attempt)
      } else {
        return block(context, attempt, error)
      }
    }
  }
}

/** Each domain in its own transaction. The run is parked only when its own last write fails. */
export async function createGovernanceRecordsLegacy(
  context: CompletionContext,
  request: CompletionRequest,
): Promise<CompletionOutcome> {
  try {
    return await completeLegacy(context, request)
  } catch (error) {
    const { runId } = request.lease
    const failure =
      error instanceof TransactionFailed
        ? error
        : new TransactionFailed(runId, TransactionPhase.TRACE_COMPLETED, [], error)
    return block(context, request, failure)
  }
}
