import {
  DUPLICATE_MS,
  type FatigueState,
  holdBack,
  lockFatigue,
  type NotifiableAlert,
  notifiableAlerts,
  notified,
  saveFatigue,
  setTold,
  silenceAlert,
  sumHeld,
  suppressionOf,
  takeAudible,
} from '../../domains/alerts/alerts.ts'
import { addDeliveries, setHeldBack } from '../../domains/deliveries/deliveries.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database, Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type AlertNotification, notifiedAlert } from './notification.ts'
import { type NamedSink, sinkTarget } from './sinks.ts'

export interface NotifyContext {
  readonly sinks: readonly NamedSink[]
  readonly clock: Clock
  readonly newId: IdSource
  readonly metrics: Metrics
}

/** What an event says that is about an alert. */
export type AlertEvent = Pick<EventEnvelope, 'id' | 'type' | 'time' | 'tenantId' | 'data'>

/**
 * Decides whether people are told of an alert that was raised or resolved, and writes what is to be sent, in the caller's
 * transaction. An alert that is raised goes through fatigue control; one that is resolved is told of if its raising was,
 * so that nobody goes on looking for what is over.
 */
export async function notifyAlert(tx: Tx, event: AlertEvent, context: NotifyContext): Promise<void> {
  const { alertId } = event.data as { alertId: string }
  const [state, [alert]] = await Promise.all([lockFatigue(tx, event.tenantId), notifiableAlerts(tx, [alertId])])
  const outcome = !alert
    ? 'GONE'
    : event.type === 'alert.resolved'
      ? await tellResolved(tx, event, alert, state, context)
      : await tellRaised(tx, event, alert, state, context)
  context.metrics.counter('concordat_alert_notifications_total').inc({ outcome })
}

/** Tells people of alerts that still fire when the silence that had muted them ends. Returns how many there were. */
export function tellAudible(database: Database, context: NotifyContext): Promise<number> {
  const { clock, newId } = context
  return database.transaction(async (tx) => {
    const audible = await takeAudible(tx, limits.silencesEndedMax)
    for (const { alertId, tenantId, isFiring } of audible) {
      const event = { id: newId(), type: 'alert.raised', time: clock.now().toISOString(), tenantId, data: { alertId } }
      if (isFiring) await notifyAlert(tx, event, context)
    }
    return audible.length
  })
}

/** When a reactor was off for long, what is over by now is no news. */
const OLD_MS = 60_000
/** Told later than what it ends: they may travel at the same time. */
const AFTER_MS = 1_000

async function tellResolved(
  tx: Tx,
  event: AlertEvent,
  alert: NotifiableAlert,
  state: FatigueState,
  context: NotifyContext,
): Promise<string> {
  if (alert.told !== 'firing') return 'UNTOLD'
  if (alert.silencedUntil) return 'SILENCED'
  const { clock } = context
  // Put off no more: it may be that of this alert.
  const open = state.open.map((each) => (each.domain === alert.domain ? { ...each, latest: each.until } : each))
  const untilMs = open.find(({ domain }) => domain === alert.domain)?.until ?? 0
  const toldMs = Math.max(alert.toldAt?.getTime() ?? 0, untilMs)
  const dueAt = new Date(Math.max(clock.nowMs(), toldMs + AFTER_MS))
  await send(tx, event, { ...alert, resolvedAt: alert.resolvedAt ?? new Date(event.time) }, state.held, dueAt, context)
  await setTold(tx, [{ alertId: alert.alertId, told: 'resolved', at: dueAt }])
  await saveFatigue(tx, alert.tenantId, { ...state, held: {}, open })
  return 'SENT'
}

async function tellRaised(
  tx: Tx,
  event: AlertEvent,
  alert: NotifiableAlert,
  state: FatigueState,
  context: NotifyContext,
): Promise<string> {
  if (alert.state === 'resolved' && context.clock.nowMs() - Date.parse(event.time) > OLD_MS) return 'OVER'
  // A redrive brings what was decided on before: nobody would be told, but what is new be held back for it.
  if (alert.told === 'firing' && alert.toldAt !== null && alert.toldAt >= alert.raisedAt) return 'TOLD'
  if (alert.silencedUntil) {
    await silenceAlert(tx, alert.alertId, alert.silencedUntil)
    return 'SILENCED'
  }
  if (alert.isInhibited) return 'INHIBITED'
  const { alertId, tenantId, type, subject, domain, told, toldAt } = alert
  const nowMs = context.clock.nowMs()
  const candidate = { id: event.id, type, subject, domain }
  const why = suppressionOf(state, candidate, nowMs)
  // People believe that it is over: they are told that it is not, if only once the duplicate's minute has passed.
  const believedOver = told === 'resolved' && toldAt !== null && why !== 'TENANT_RATE_LIMIT'
  if (why && !believedOver) {
    await saveFatigue(tx, tenantId, await keepHeld(tx, holdBack(state, why, candidate, nowMs), state))
    return why
  }
  const dueMs = Math.max(nowMs + limits.alertGroupMs, why && toldAt ? toldAt.getTime() + DUPLICATE_MS : 0)
  const dueAt = new Date(dueMs)
  const after = notified(state, candidate, nowMs, dueMs, nowMs + limits.alertGroupMsMax)
  await send(tx, event, { ...alert, resolvedAt: null }, state.held, dueAt, context)
  await setTold(tx, [{ alertId, told: 'firing', at: dueAt }])
  await saveFatigue(tx, tenantId, after)
  return 'SENT'
}

/** Puts count and time into the notification that is not sent yet; if it has been sent after all, the next one tells. */
async function keepHeld(tx: Tx, after: FatigueState, before: FatigueState): Promise<FatigueState> {
  const changed = after.open.find((open) => !before.open.includes(open))
  if (!changed || (await setHeldBack(tx, changed.id, changed.held, new Date(changed.until)))) return after
  const counted = before.open.find(({ id }) => id === changed.id)?.held ?? {}
  const open = after.open.filter((each) => each !== changed)
  return { ...after, open, held: sumHeld(after.held, subtract(changed.held, counted)) }
}

function subtract(a: FatigueState['held'], b: FatigueState['held']): FatigueState['held'] {
  return Object.fromEntries(Object.entries(a).map(([why, n]) => [why, n - (b[why as keyof typeof b] ?? 0)]))
}

async function send(
  tx: Tx,
  event: AlertEvent,
  alert: NotifiableAlert,
  heldBack: FatigueState['held'],
  dueAt: Date,
  { sinks, newId, clock }: NotifyContext,
): Promise<void> {
  const type = event.type as AlertNotification['type']
  const notification: AlertNotification = { type, at: clock.now().toISOString(), alert: notifiedAlert(alert), heldBack }
  const payload = JSON.stringify(notification)
  const { tenantId, runId } = alert
  await addDeliveries(
    tx,
    sinks.map((sink) => {
      return { deliveryId: newId(), tenantId, runId, target: sinkTarget(sink), sourceId: event.id, payload, dueAt }
    }),
  )
}
