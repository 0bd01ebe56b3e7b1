export { auditHandlers } from './audit-handlers.ts'
export type { ReconciliationContext } from './hold-to-contract.ts'
export { reconcileRuns } from './reconcile-runs.ts'
export { createReconciliationSweep, sweepReconciliations } from './reconciliation-sweep.ts'
