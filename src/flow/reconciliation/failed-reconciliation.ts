import { raiseAlerts } from '../../domains/alerts/alerts.ts'
import { ACTIONS, deferLook } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { toAppError } from '../../foundation/app-error.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { deferReconcile } from '../kernel/kernel.ts'
import type { ReconciliationContext } from './hold-to-contract.ts'

const SUBJECT = 'reconciliation'

/**
 * A run that could not be held against its contract is put off, ever longer, and an alert tells of it, once; the first
 * reconciliation that succeeds resolves it. If the alert can't be stored either, it is logged and the run put off.
 */
export async function reportFailure(context: ReconciliationContext, run: RunKey, error: unknown): Promise<void> {
  const { database, log, clock, newId } = context
  const { tenantId, runId } = run
  log.error({ error, tenantId, runId }, 'a run could not be held against its contract; it is tried again')
  const detail = safeText(toAppError(error).message, limits.errorMessageCharsMax)
  const message = `the run could not be held against its contract: ${detail}`
  const at = clock.now()
  try {
    await database.transaction(async (tx) => {
      const alert = {
        tenantId,
        runId,
        type: 'RECONCILIATION_FAILED',
        subject: SUBJECT,
        domain: 'audit',
        message,
      } as const
      const raised = await raiseAlerts(tx, [alert], { at, newId })
      if (raised.length > 0) {
        const data = { result: 'INCOMPLETE', findings: [{ ...ACTIONS.finalizeRun, detail: message }] }
        const event = { id: newId(), type: 'audit.reconciliation.failed', time: at.toISOString(), data } as const
        await appendEvents(tx, [{ tenantId, runId, events: [event] }])
      }
      await putOff(tx, run)
    })
  } catch (alertError) {
    log.error({ error: alertError, tenantId, runId }, 'the alert of a failed reconciliation could not be stored')
    await putOff(database, run)
  }
}

async function putOff(tx: Tx, run: RunKey): Promise<void> {
  await deferReconcile(tx, run)
  await deferLook(tx, run) // also where there is no row of the run any more
}
