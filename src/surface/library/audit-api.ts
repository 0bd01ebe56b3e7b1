import {
  acksOfRuns,
  type ExpectationState,
  expectationStates,
  type RunReconciliation,
  reconciliationOf,
  type StoredAck,
  type StoredReconciliation,
} from '../../domains/audit/audit.ts'
import { findRun, isTerminal } from '../../domains/runs/runs.ts'
import { type ReconciliationContext, reconcileRuns } from '../../flow/reconciliation/reconciliation.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'

/** A run's contract as it stands: what is expected, what is acknowledged, what the last reconciliation found. */
export interface AuditReport {
  readonly tenantId: string
  readonly runId: string
  readonly status: string
  readonly expectations: readonly ExpectationState[]
  readonly acks: readonly StoredAck[]
  readonly reconciliation: StoredReconciliation | null
}

/** The audit contract, as programs use it. Both fail with `RUN_NOT_FOUND`. */
export interface AuditApi {
  get(tenantId: string | null, runId: string): Promise<AuditReport>
  reconcile(tenantId: string | null, runId: string): Promise<RunReconciliation>
  /** Many of a tenant's runs in batches. Ids that are not its runs are left out. */
  reconcileMany(tenantId: string, runIds: readonly string[]): Promise<RunReconciliation[]>
}

export function createAuditApi(context: ReconciliationContext): AuditApi {
  const { database, clock } = context
  async function known(tenantId: string | null, runId: string) {
    const run = isId(runId) ? await findRun(database, tenantId, runId) : null
    if (!run) throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
    return run
  }
  return {
    async get(tenantId, runId) {
      const run = await known(tenantId, runId)
      const [acks, reconciliation] = await Promise.all([
        acksOfRuns(database, run.tenantId, [runId]),
        reconciliationOf(database, run.tenantId, runId),
      ])
      const anchors = { ...run, ended: isTerminal(run.phase) }
      const expectations = expectationStates(run.expectations, acks, anchors, clock.now())
      return { tenantId: run.tenantId, runId, status: run.status, expectations, acks, reconciliation }
    },
    async reconcile(tenantId, runId) {
      const run = await known(tenantId, runId)
      const [reconciled] = await reconcileRuns(context, run.tenantId, [runId])
      if (!reconciled) throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
      return reconciled
    },
    reconcileMany: (tenantId, runIds) => reconcileRuns(context, tenantId, runIds),
  }
}
