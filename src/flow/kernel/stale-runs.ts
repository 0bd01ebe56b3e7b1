import { type AlertMoment, raiseAlerts } from '../../domains/alerts/alerts.ts'
import { ACTIONS } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'

/** Tells, as a reconciliation would, that nobody will finalise these runs. Their ends resolve it. */
export async function tellStale(tx: Tx, runs: readonly RunKey[], message: string, moment: AlertMoment): Promise<void> {
  if (runs.length === 0) return
  const { domain, action } = ACTIONS.finalizeRun
  const subject = `${domain}/${action}`
  const alerts = runs.map(({ tenantId, runId }) => {
    return { tenantId, runId, type: 'STALE_RUN' as const, subject, domain, message: `${subject}: ${message}` }
  })
  const raised = await raiseAlerts(tx, alerts, moment)
  const data = { result: 'STALE', findings: [{ domain, action, detail: message }] }
  await appendEvents(
    tx,
    raised.map(({ tenantId, runId }) => {
      const event = {
        id: moment.newId(),
        type: 'audit.reconciliation.stale',
        time: moment.at.toISOString(),
        data,
      } as const
      return { tenantId, runId, events: [event] }
    }),
  )
}
