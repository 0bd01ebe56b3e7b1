import { appendEvents, type EventType, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import type { Alert, StoredAlert } from './alert.ts'
import { type RunKeys, raise, resolveOthers } from './alert-store.ts'

export { type Alert, AlertSeverity, type AlertState, AuditAlertType, type StoredAlert } from './alert.ts'
export { type AlertFilter, acknowledge, alertsOfRun, findAlert, listAlerts } from './alert-store.ts'
export {
  type Candidate,
  DUPLICATE_MS,
  type FatigueState,
  type HeldBack,
  holdBack,
  notified,
  type Suppression,
  sumHeld,
  suppressionOf,
} from './fatigue.ts'
export {
  lockFatigue,
  type NotifiableAlert,
  notifiableAlerts,
  saveFatigue,
  setTold,
  silenceAlert,
  type Told,
  takeAudible,
} from './notification-store.ts'
export { activeSilences, addSilence, type Silence } from './silences.ts'

/** The moment of a change, and where ids of new rows and events come from. */
export interface AlertMoment {
  readonly at: Date
  readonly newId: IdSource
}

/**
 * Raises alerts in the transaction that finds their cause, with `alert.raised` for each that did not fire before. Raising
 * again what fires changes nothing. Returns what is new.
 */
export async function raiseAlerts(tx: Tx, alerts: readonly Alert[], moment: AlertMoment): Promise<StoredAlert[]> {
  const raised = await raise(tx, alerts, moment.newId, moment.at)
  await appendEvents(tx, entriesOf('alert.raised', raised, moment))
  return raised
}

/**
 * Makes the alerts of these runs be just those that stand: raises what is new, resolves what is cleared, and says both
 * as events of the same transaction.
 */
export async function settleAlerts(
  tx: Tx,
  runs: readonly RunKeys[],
  standing: readonly Alert[],
  moment: AlertMoment,
): Promise<void> {
  const resolved = await resolveOthers(tx, runs, standing, moment.at)
  await appendEvents(tx, entriesOf('alert.resolved', resolved, moment))
  await raiseAlerts(tx, standing, moment)
}

function entriesOf(type: EventType, alerts: readonly StoredAlert[], { at, newId }: AlertMoment) {
  return alerts.map(({ tenantId, runId, alertId, type: alertType, subject, domain, severity, message, times }) => {
    const data = { alertId, type: alertType, subject, domain, severity, message, times }
    const event: RunEvent = { id: newId(), type, time: at.toISOString(), data }
    return { tenantId, runId, events: [event] }
  })
}
