import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { FanOut } from './fan-out.ts'
import { type NotifyContext, notifyAlert } from './notify-alerts.ts'

/** A handler for the reactor, whose writes through `tx` take effect exactly once. */
export interface DeliveryHandler {
  readonly type: string
  readonly name: string
  readonly handle: (event: EventEnvelope, context: { readonly tx: Tx }) => unknown
}

export interface DeliveryHandlersOptions extends NotifyContext {
  /** AUDIT_ALERTS_ENABLED. */
  readonly alertsEnabled: boolean
}

/** What turns events into deliveries: notifications of alerts, and copies for those who subscribed. */
export function deliveryHandlers(options: DeliveryHandlersOptions): DeliveryHandler[] {
  const fanOut = new FanOut(options)
  const notify: DeliveryHandler['handle'] = (event, { tx }) => {
    if (options.alertsEnabled) return notifyAlert(tx, event, options)
    options.metrics.counter('concordat_alert_notifications_total').inc({ outcome: 'DISABLED' })
  }
  return [
    { type: 'alert.*', name: 'concordat.notify', handle: notify },
    { type: '*', name: 'concordat.subscriptions', handle: (event, { tx }) => fanOut.handle(tx, event) },
  ]
}
