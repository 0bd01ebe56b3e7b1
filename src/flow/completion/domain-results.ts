import { isRetryable } from '../../foundation/storage/storage.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionRequest, TransactionOutcome } from './completion-request.ts'
import { COMPLETION_WRITES } from './completion-writes.ts'
import type { DecidedCompletion } from './decide-completion.ts'
import { type DomainResult, TransactionFailed, TransactionPhase, TransactionResult } from './transaction-result.ts'
import { untilPublished } from './until-published.ts'

/** The failure of the write at this index: the phase is what the writes before it had reached. */
export function failureOf(decided: DecidedCompletion, index: number, cause: unknown): TransactionFailed {
  const phase = COMPLETION_WRITES[index - 1]?.reaches ?? TransactionPhase.NOT_STARTED
  const message = cause instanceof Error ? cause.message : String(cause)
  const done = domainResults(decided, index)
  const action = COMPLETION_WRITES[index]?.action
  const refused = {
    domain: 'orchestrator',
    action: 'finalize_run',
    ...action,
    resultId: null,
    success: false,
    error: message,
    at: decided.at,
  }
  return new TransactionFailed(decided.held.runId, phase, [...done, refused], cause)
}

/**
 * What an error means for a completion. What says nothing about it, as that the database is away, is returned as it is;
 * anything else is a refusal: while the facts were read (`decided` absent), or by the commit itself, as of a deferred
 * constraint.
 */
export function refusalOf(runId: string, decided: DecidedCompletion | undefined, error: unknown): unknown {
  if (error instanceof TransactionFailed || isRetryable(error)) return error
  if (decided) return failureOf(decided, COMPLETION_WRITES.length - 1, error)
  return new TransactionFailed(runId, TransactionPhase.NOT_STARTED, [], error)
}

/** What the first `count` writes did for one run. */
export function domainResults({ acks, at }: DecidedCompletion, count: number): DomainResult[] {
  return COMPLETION_WRITES.slice(0, count).map(({ action }) => {
    const ack = acks.find((each) => each.domain === action.domain && each.action === action.action)
    return { ...action, resultId: ack?.resultId ?? null, success: true, error: null, at }
  })
}

export function endedOutcome(
  options: CompletionOptions,
  { held, finished }: DecidedCompletion,
  domains: readonly DomainResult[],
  durationMs: number,
): TransactionOutcome {
  const fields = { runId: held.runId, phase: TransactionPhase.COMMITTED, domains, durationMs }
  const result = new TransactionResult(fields, () => untilPublished(options.database, held))
  if (held.stop && finished.stop?.confirmedAt) {
    const stoppedInMs = finished.stop.confirmedAt.getTime() - Date.parse(held.stop.requestedAt)
    options.metrics.histogram('concordat_stop_duration_seconds').observe({}, stoppedInMs / 1_000)
  }
  return { kind: 'ended', status: finished.outcome, phase: finished.phase, finished, result }
}

/** The commit went through before; only its reply was lost. */
export function alreadyEnded(
  options: CompletionOptions,
  { lease }: CompletionRequest,
  {
    phase,
    outcome,
  }: { phase: DecidedCompletion['finished']['phase']; outcome: DecidedCompletion['finished']['outcome'] },
): TransactionOutcome {
  const fields = { runId: lease.runId, phase: TransactionPhase.COMMITTED, domains: [], durationMs: 0 }
  const result = new TransactionResult(fields, () => untilPublished(options.database, lease))
  return { kind: 'ended', status: outcome, phase, finished: null, result }
}
