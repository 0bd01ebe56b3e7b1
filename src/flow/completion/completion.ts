import type { CompletionOptions } from './completion-context.ts'
import type { CompletionContext } from './dispatch.ts'
import { RunCompletionTransaction } from './run-completion-transaction.ts'

export { blockedAlert, CONTRACT_SUBJECT } from './blocked-completion.ts'
export type { CompletionOptions } from './completion-context.ts'
export type { CompletionOutcome, CompletionRequest } from './completion-request.ts'
export {
  type CompletionContext,
  createGovernanceRecordsAtomic,
  createGovernanceRecordsForRun,
  createGovernanceRecordsLegacy,
} from './dispatch.ts'
export { GovernanceFacade } from './governance-facade.ts'
export { sweepIntents } from './intent-sweep.ts'
export type { EndingRun, Participant, ParticipantIntent } from './participants.ts'
export { RunCompletionTransaction } from './run-completion-transaction.ts'
export { type DomainResult, TransactionFailed, TransactionPhase, TransactionResult } from './transaction-result.ts'

/** A fresh transaction coordinator. A runtime has its own: `getTransactionCoordinator(runtime)`. */
export function createTransactionCoordinator(options: CompletionOptions): RunCompletionTransaction {
  return new RunCompletionTransaction(options)
}

export function createCompletionContext(options: CompletionOptions): CompletionContext {
  return { ...options, transaction: createTransactionCoordinator(options) }
}
