import { endedAfter } from '../../domains/runs/runs.ts'
import { listTenants } from '../../domains/tenants/tenants.ts'
import {
  type ReconciliationContext,
  reconcileRuns,
  sweepReconciliations,
} from '../../flow/reconciliation/reconciliation.ts'
import { firstIdAt } from '../../foundation/ids.ts'
import { limits } from '../../limits.ts'

/** What a sweep of the audit did. */
export interface AuditSweep {
  /** Runs that were held against their contracts. */
  readonly runs: number
  /** Of those, how many are not COMPLETE, or could not be held against them. */
  readonly found: number
}

/** What is due, then what was submitted since and has ended. */
export async function sweepAudit(context: ReconciliationContext, since?: Date): Promise<AuditSweep> {
  const due = await sweepReconciliations(context)
  if (!since) return due
  const total = { runs: due.runs, found: due.found }
  for (const { tenantId } of await listTenants(context.database)) {
    let after: string | undefined = firstIdAt(since)
    while (after) {
      const page = await endedAfter(context.database, tenantId, after, limits.reconcileBatchMax)
      const { results, failures } = await reconcileRuns(context, page)
      total.runs += page.length
      total.found += results.filter(({ result }) => result !== 'COMPLETE').length + failures.length
      after = page.length === limits.reconcileBatchMax ? page.at(-1)?.runId : undefined
    }
  }
  return total
}
