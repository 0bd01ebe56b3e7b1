import type { WindowUses } from '../../domains/policies/policies.ts'
import type { RunEnd, RunOutcome, RunPhase } from '../../domains/runs/runs.ts'
import type { FinishedRun, KnownRun, Lease, StopReport } from '../kernel/kernel.ts'
import type { TransactionFailed, TransactionResult } from './transaction-result.ts'

/** A run whose work has ended and that its domains must now agree on. */
export interface CompletionRequest {
  readonly lease: Lease
  readonly end: RunEnd
  readonly stop: StopReport | null
  /** Tries that have failed before this one. */
  readonly earlierAttempts: number
  /** Null: what the end is decided on must be read. */
  readonly known: KnownRun | null
  /** False when it has nothing reserved of any budget, as whoever executed it knows. */
  readonly reserves?: boolean
  /**
   * The version of the tenant's policies that its steps were held against last; null: none. Left out where the run's end
   * waits for no policies that came later.
   */
  readonly policiesSeen?: number | null
  /** What its steps saw of limits that add up a period; left out where nobody knows. */
  readonly windowUses?: WindowUses
}

/** What became of a completion. Only `ended` means that the run is over. */
export type CompletionOutcome =
  | {
      readonly kind: 'ended'
      readonly status: RunOutcome
      readonly phase: RunPhase
      /** What was written; null when a try before had written it and only its reply was lost. */
      readonly finished: FinishedRun | null
      readonly result: TransactionResult
    }
  /** A domain refuses: the run stays as it is, nothing of it is lost, and it is tried again when due. */
  | { readonly kind: 'blocked'; readonly failure: TransactionFailed; readonly retryInMs: number }
  /** Somebody else has the run now; the caller must not write anything more about it. */
  | { readonly kind: 'lease_lost' }
  /** A stop came before the end: the caller ends the run as cancelled instead. */
  | { readonly kind: 'stop_first' }
  /** So did policies that the run's steps have not seen: the caller counts it in their limits, and then ends it. */
  | { readonly kind: 'policies_first' }

/** What the transaction itself can answer; `blocked` is decided by the dispatch above it. */
export type TransactionOutcome = Exclude<CompletionOutcome, { kind: 'blocked' }>
