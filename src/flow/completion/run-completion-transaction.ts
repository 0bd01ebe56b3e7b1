import { GroupCommit } from '../../foundation/group-commit.ts'
import { isRetryable, isStale, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionRequest, TransactionOutcome } from './completion-request.ts'
import { COMPLETION_WRITES } from './completion-writes.ts'
import type { DecidedCompletion } from './decide-completion.ts'
import { domainResults, endedOutcome, failureOf, refusalOf } from './domain-results.ts'
import { decideKnown, holdAndDecide } from './hold-and-decide.ts'
import { completeWithParticipants } from './participant-completion.ts'
import { type DomainResult, TransactionFailed } from './transaction-result.ts'

/**
 * Ends runs in one database transaction: incident, policy evaluation, trace, final status, audit acks and the events
 * to be published are rows of the same commit. kill -9 at any instant leaves all or none.
 *
 * Runs that end at the same time share a commit. A batch that fails is halved until the run to blame fails alone.
 */
export class RunCompletionTransaction {
  readonly #options: CompletionOptions
  readonly #group: GroupCommit<CompletionRequest, TransactionOutcome>

  constructor(options: CompletionOptions) {
    this.#options = options
    this.#group = new GroupCommit({
      name: 'completions',
      batchMax: limits.completionBatchMax,
      flushersMax: 1,
      queueMax: limits.groupQueueMax,
      retryForMs: options.retryForMs,
      flush: (requests) => this.#commit(requests),
      isRetryable: (error) => isRetryable(error instanceof TransactionFailed ? error.cause : error),
      random: options.random,
    })
  }

  /**
   * Resolves after the commit, or says that the run is not the caller's to end. Throws `TransactionFailed` when a
   * domain refuses: then nothing of the run's end exists.
   */
  execute(request: CompletionRequest): Promise<TransactionOutcome> {
    return this.#options.participants.length > 0
      ? completeWithParticipants(this.#options, request)
      : this.#group.add(request)
  }

  async #commit(requests: readonly CompletionRequest[]): Promise<TransactionOutcome[]> {
    const outcomes = (await this.#commitKnown(requests)) ?? (await this.#commitHeld(requests))
    this.#options.onCommitted()
    return outcomes
  }

  /** In one flight, if all runs are known to their workers and still as they know them; else null, and nothing is written. */
  async #commitKnown(requests: readonly CompletionRequest[]): Promise<TransactionOutcome[] | null> {
    const startedAt = performance.now()
    const decided = decideKnown(this.#options, requests)
    if (decided === null) return null
    try {
      const results = await this.#options.database.transaction(async (tx) => lastFlight(writeAll(tx, decided)))
      const durationMs = performance.now() - startedAt
      return decided.map((each, i) => endedOutcome(this.#options, each, results[i] ?? [], durationMs))
    } catch (error) {
      if (isStale(error instanceof TransactionFailed ? error.cause : error)) return null
      throw refusalOf(requests[0]?.lease.runId ?? '', decided[0], error)
    }
  }

  /** Locks the runs and reads what their ends are decided on, before anything is written. */
  async #commitHeld(requests: readonly CompletionRequest[]): Promise<TransactionOutcome[]> {
    const startedAt = performance.now()
    let decided: readonly DecidedCompletion[] = []
    try {
      return await this.#options.database.transaction(async (tx) => {
        const sorted = await holdAndDecide(tx, this.#options, requests)
        decided = sorted.decided
        if (decided.length === 0) return requests.map((request) => sorted.answers.get(request) as TransactionOutcome)
        return lastFlight(
          writeAll(tx, decided).then((results) => {
            const durationMs = performance.now() - startedAt
            decided.forEach((each, i) => {
              sorted.answers.set(each.request, endedOutcome(this.#options, each, results[i] ?? [], durationMs))
            })
            return requests.map((request) => sorted.answers.get(request) as TransactionOutcome)
          }),
        )
      })
    } catch (error) {
      // Blamed on one run, which is right once it fails alone.
      throw refusalOf(requests[0]?.lease.runId ?? '', decided[0], error)
    }
  }
}

/** Sends every write in order, in one flight. Throws `TransactionFailed` with the phase before the first that failed. */
async function writeAll(tx: Tx, batch: readonly DecidedCompletion[]): Promise<DomainResult[][]> {
  const settled = await Promise.allSettled(COMPLETION_WRITES.map((write) => write.run(tx, batch)))
  const failedAt = settled.findIndex((result) => result.status === 'rejected')
  if (failedAt >= 0) {
    const { reason } = settled[failedAt] as PromiseRejectedResult
    throw failureOf(batch[0] as DecidedCompletion, failedAt, reason)
  }
  return batch.map((each) => domainResults(each, COMPLETION_WRITES.length))
}
