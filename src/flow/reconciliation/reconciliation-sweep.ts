import { takeLooks } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { createTicker, type Service } from '../../foundation/service.ts'
import { isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { scheduleReconcile, takeReconcileDue } from '../kernel/kernel.ts'
import { reportFailure } from './failed-reconciliation.ts'
import { holdToContract, type ReconciliationContext } from './hold-to-contract.ts'

/** Holds runs against their contracts when they are due, whatever the flags. Every worker runs it. */
export function createReconciliationSweep(context: ReconciliationContext, onFound: () => void): Service {
  return createTicker({
    name: 'reconciliation sweep',
    intervalMs: limits.reconcileSweepMs,
    tick: async (signal) => {
      const { found } = await sweepReconciliations(context, signal)
      if (found > 0) onFound()
    },
    onError: (error) => context.log.error({ error }, 'the reconciliation sweep failed'),
  })
}

export interface Swept {
  readonly runs: number
  /** Of those, how many are not COMPLETE. */
  readonly found: number
}

/**
 * Holds all runs that are due, or of which somebody has deleted something, against their contracts, in batches of which each is one transaction with the time of
 * their next look. Several sweeps share them. A run that fails fails alone: the batches shrink until it is by itself.
 */
export async function sweepReconciliations(context: ReconciliationContext, signal?: AbortSignal): Promise<Swept> {
  let size: number = limits.reconcileBatchMax
  const swept = { runs: 0, found: 0 }
  while (!signal?.aborted) {
    const taken: RunKey[] = []
    try {
      const found = await sweepBatch(context, size, taken)
      swept.runs += taken.length
      swept.found += found
      if (taken.length < size) return swept
      size = Math.min(size * 2, limits.reconcileBatchMax)
    } catch (error) {
      const [run] = taken
      if (isRetryable(error) || !run) throw error
      if (taken.length === 1) await reportFailure(context, run, error)
      else size = Math.ceil(taken.length / 2)
    }
  }
  return swept
}

function withoutThose(runs: readonly RunKey[], others: readonly RunKey[]): RunKey[] {
  return runs.filter((run) => !others.some((other) => other.runId === run.runId && other.tenantId === run.tenantId))
}

/** Fills `taken` with what it took, also when it fails. Returns how many of them are not COMPLETE. */
async function sweepBatch(context: ReconciliationContext, size: number, taken: RunKey[]): Promise<number> {
  const held = await context.database.transaction(async (tx) => {
    taken.push(...(await takeReconcileDue(tx, size)))
    if (taken.length < size) taken.push(...withoutThose(await takeLooks(tx, size - taken.length), taken))
    if (taken.length === 0) return []
    const runs = await holdToContract(tx, context, taken)
    await scheduleReconcile(
      tx,
      runs.flatMap(({ tenantId, runId, nextLookAt }) => (nextLookAt ? { tenantId, runId, dueAt: nextLookAt } : [])),
    )
    return runs
  })
  for (const { result } of held) context.metrics.counter('concordat_reconciliations_total').inc({ result })
  return held.filter(({ result }) => result !== 'COMPLETE').length
}
