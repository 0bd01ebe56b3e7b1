import type { RunReconciliation } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { reportFailure } from './failed-reconciliation.ts'
import { holdToContract, type ReconciliationContext } from './hold-to-contract.ts'

export interface Reconciled {
  readonly results: readonly RunReconciliation[]
  /** Why runs could not be held against their contracts; an alert tells of each. */
  readonly failures: readonly unknown[]
}

/**
 * Holds runs against their contracts now, a transaction a batch: see `holdToContract`. One that fails takes no other
 * along. Ids that are no runs are left out.
 */
export async function reconcileRuns(context: ReconciliationContext, runs: readonly RunKey[]): Promise<Reconciled> {
  const batches: Reconciled[] = []
  for (let from = 0; from < runs.length; from += limits.reconcileBatchMax) {
    batches.push(await reconcileBatch(context, runs.slice(from, from + limits.reconcileBatchMax)))
  }
  return joined(batches)
}

/** A batch that fails is halved until the run to blame is alone. */
async function reconcileBatch(context: ReconciliationContext, runs: readonly RunKey[]): Promise<Reconciled> {
  const { database, metrics } = context
  try {
    const held = await database.transaction((tx) => holdToContract(tx, context, runs))
    for (const { result } of held) metrics.counter('concordat_reconciliations_total').inc({ result })
    return { results: held.map(({ nextLookAt: _, ...reconciliation }) => reconciliation), failures: [] }
  } catch (error) {
    const [run] = runs
    if (isRetryable(error) || !run) throw error
    if (runs.length > 1) {
      const middle = Math.ceil(runs.length / 2)
      const first = await reconcileBatch(context, runs.slice(0, middle))
      return joined([first, await reconcileBatch(context, runs.slice(middle))])
    }
    await reportFailure(context, run, error)
    return { results: [], failures: [error] }
  }
}

function joined(parts: readonly Reconciled[]): Reconciled {
  return { results: parts.flatMap(({ results }) => results), failures: parts.flatMap(({ failures }) => failures) }
}
