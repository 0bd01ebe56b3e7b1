export { ackOutcomesOfRuns, ackSuccessSql, acksOfRuns, type RunAcks, type StoredAck, writeAcks } from './ack-store.ts'
export {
  ACTIONS,
  type AckOutcome,
  type AckStatus,
  type Action,
  type Anchor,
  type AuditContract,
  type AuditExpectation,
  ackOf,
  type DomainAck,
  declareContract,
  hasDeadline,
  sameAction,
} from './contract.ts'
export { expectationsSql, writeContracts } from './contract-store.ts'
export { type Anchors, type ExpectationState, expectationStates, nextDueAt } from './expectation-states.ts'
export { askForLooksAgain, askForLooksSql, deferLook, takeLooks } from './look-store.ts'
export {
  AuditReconciler,
  type ContractFacts,
  type Finding,
  type Reconciliation,
  type ReconciliationResult,
} from './reconcile.ts'
export {
  type RunReconciliation,
  reconciliationOf,
  type StoredReconciliation,
  writeReconciliations,
} from './reconciliation-store.ts'
