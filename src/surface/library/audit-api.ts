import { alertsOfRun, type StoredAlert } from '../../domains/alerts/alerts.ts'
import {
  acksOfRuns,
  type ExpectationState,
  expectationStates,
  type RunReconciliation,
  reconciliationOf,
  type StoredAck,
  type StoredReconciliation,
} from '../../domains/audit/audit.ts'
import { isTerminal } from '../../domains/runs/runs.ts'
import { findLostRun, type ReconciliationContext, reconcileRuns } from '../../flow/reconciliation/reconciliation.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import { snapshot } from '../../foundation/storage/storage.ts'
import { type AuditSweep, sweepAudit } from './audit-sweep.ts'
import { knownRun } from './known-run.ts'

/** A run's contract as it stands: what is expected, what is acknowledged, what the last reconciliation found. */
export interface AuditReport {
  readonly tenantId: string
  readonly runId: string
  /** That of the run; `gone`: somebody has deleted its row, and with it what it had expected. */
  readonly status: string
  readonly expectations: readonly ExpectationState[]
  readonly acks: readonly StoredAck[]
  readonly reconciliation: StoredReconciliation | null
  /** All that were raised for the run, resolved ones too. */
  readonly alerts: readonly StoredAlert[]
}

/**
 * The audit contract, as programs use it. `get` and `reconcile` fail with `RUN_NOT_FOUND`, though not for a run that
 * somebody deleted, as long as anything is known of it: that is a finding.
 */
export interface AuditApi {
  get(tenantId: string | null, runId: string): Promise<AuditReport>
  reconcile(tenantId: string | null, runId: string): Promise<RunReconciliation>
  /**
   * Holds all runs that are due against their contracts, of every tenant, and once more those that were submitted since
   * `since` and have ended: also what was changed by hand after they were last looked at is found then. A run that is past
   * its time and that nobody executes has ended when this resolves, if its domains let it.
   */
  sweep(options?: { readonly since?: Date }): Promise<AuditSweep>
  /** Many of a tenant's runs in batches. Ids that are not its runs are left out. */
  reconcileMany(tenantId: string, runIds: readonly string[]): Promise<RunReconciliation[]>
}

/** `endDue` completes the runs whose end is known and due, as that of stale ones. */
export function createAuditApi(context: ReconciliationContext, endDue: () => Promise<void>): AuditApi {
  const { database, clock } = context
  return {
    get(tenantId, runId) {
      return snapshot(database, async (tx) => {
        const lost = isId(runId) ? await findLostRun(tx, tenantId, runId) : null
        const run = lost ? null : await knownRun(tx, tenantId, runId)
        const key = { tenantId: (lost ?? run)?.tenantId ?? '', runId }
        const [acks, reconciliation, alerts] = await Promise.all([
          acksOfRuns(tx, [key]),
          reconciliationOf(tx, key.tenantId, runId),
          alertsOfRun(tx, key),
        ])
        const found = { ...key, acks, reconciliation, alerts }
        if (!run) return { ...found, status: 'gone', expectations: [] }
        const anchors = { ...run, ended: isTerminal(run.phase) }
        const expectations = expectationStates(run.expectations, acks, anchors, clock.now())
        return { ...found, status: run.status, expectations }
      })
    },
    async reconcile(tenantId, runId) {
      const lost = isId(runId) ? await findLostRun(database, tenantId, runId) : null
      const run = lost ?? (await knownRun(database, tenantId, runId))
      const { results, failures } = await reconcileRuns(context, [run])
      const [reconciled] = results
      if (failures.length > 0) throw failures[0]
      if (!reconciled) throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
      return reconciled
    },
    async sweep({ since } = {}) {
      const swept = await sweepAudit(context, since)
      if (swept.found > 0) await endDue()
      return swept
    },
    async reconcileMany(tenantId, runIds) {
      const runs = runIds.map((runId) => ({ tenantId, runId }))
      const { results, failures } = await reconcileRuns(context, runs)
      if (failures.length > 0) throw failures[0]
      return [...results]
    },
  }
}
