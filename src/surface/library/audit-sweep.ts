import { endedAfter } from '../../domains/runs/runs.ts'
import { listTenants } from '../../domains/tenants/tenants.ts'
import {
  lostRunsAfter,
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

/** What is due, then what was submitted since and has ended, or whose run is gone while records of it are there. */
export async function sweepAudit(context: ReconciliationContext, since?: Date): Promise<AuditSweep> {
  const due = await sweepReconciliations(context)
  if (!since) return due
  const total = { runs: due.runs, found: due.found }
  for (const { tenantId } of await listTenants(context.database)) {
    for (const page of [endedAfter, lostRunsAfter]) {
      let after: string | undefined = firstIdAt(since)
      while (after) {
        const runs = await page(context.database, tenantId, after, limits.reconcileBatchMax)
        const { results, failures } = await reconcileRuns(context, runs)
        total.runs += runs.length
        total.found += results.filter(({ result }) => result !== 'COMPLETE').length + failures.length
        after = runs.length === limits.reconcileBatchMax ? runs.at(-1)?.runId : undefined
      }
    }
  }
  return total
}
