import type { RunKey } from '../../domains/runs/runs.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import { GroupCommit } from '../../foundation/group-commit.ts'
import { isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { ReconciliationContext } from './hold-to-contract.ts'
import { reconcileRuns } from './reconcile-runs.ts'

/** A handler for the reactor; what it does may be repeated. */
export interface AuditHandler {
  readonly type: string
  readonly name: string
  readonly from: 'now'
  readonly handle: (event: EventEnvelope) => Promise<void>
}

export interface AuditHandlersOptions extends ReconciliationContext {
  readonly random: () => number
  readonly retryForMs: number
  /** Runs may end by the legacy path, and lack a part of their footprint though they succeeded. */
  readonly legacyPossible: boolean
}

/**
 * Makes the audit sooner: runs that may lack something are held against their contracts as soon as they have ended. The
 * schedule stays, so that what is changed in the seconds after is found too; of runs that ended in one commit it is enough.
 */
export function auditHandlers(options: AuditHandlersOptions): AuditHandler[] {
  const looks = new GroupCommit<RunKey, undefined>({
    name: 'reconciliations',
    batchMax: limits.reconcileBatchMax,
    flushersMax: 1,
    queueMax: limits.groupQueueMax,
    retryForMs: options.retryForMs,
    flush: async (runs) => {
      await reconcileRuns(options, runs)
      return runs.map(() => undefined)
    },
    isRetryable,
    random: options.random,
  })
  const handle = ({ tenantId, runId }: EventEnvelope) => looks.add({ tenantId, runId })
  const types = options.legacyPossible ? ['run.failed', 'run.completed'] : ['run.failed']
  return types.map((type) => ({ type, name: `concordat.audit:${type}`, from: 'now', handle }))
}
