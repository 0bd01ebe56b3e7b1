import type { HeldBack, StoredAlert } from '../../domains/alerts/alerts.ts'

/** What people are told through a sink. Stored as the payload of its deliveries. */
export type Notification = AlertNotification | SubscriptionNotice | SinkNotice

export interface AlertNotification {
  readonly type: 'alert.raised' | 'alert.resolved'
  /** When it was decided on, ISO 8601. */
  readonly at: string
  readonly alert: NotifiedAlert
  /** How many others were held back since the notification before, by why. */
  readonly heldBack: HeldBack
}

export interface NotifiedAlert
  extends Pick<
    StoredAlert,
    'alertId' | 'tenantId' | 'runId' | 'type' | 'subject' | 'domain' | 'severity' | 'message' | 'times'
  > {
  readonly raisedAt: string
  readonly resolvedAt: string | null
}

/** A subscription that nobody answered for too long. */
export interface SubscriptionNotice {
  readonly type: 'subscription.disabled'
  readonly at: string
  readonly tenantId: string
  readonly subscriptionId: string
  readonly url: string
  readonly because: string
}

/** A sink that was taken out of the configuration, and what had waited for it. */
export interface SinkNotice {
  readonly type: 'sink.gone'
  readonly at: string
  readonly tenantId: string
  readonly sink: string
  /** Notifications of the tenant that are given up. */
  readonly deliveries: number
  readonly because: string
}

export function notifiedAlert(alert: StoredAlert): NotifiedAlert {
  const { alertId, tenantId, runId, type, subject, domain, severity, message, times, raisedAt, resolvedAt } = alert
  const at = { raisedAt: raisedAt.toISOString(), resolvedAt: resolvedAt?.toISOString() ?? null }
  return { alertId, tenantId, runId, type, subject, domain, severity, message, times, ...at }
}

/** In one line, for people. */
export function summaryOf(notification: Notification): string {
  if (notification.type === 'subscription.disabled') {
    const { subscriptionId, tenantId, because } = notification
    return `Subscription ${subscriptionId} of tenant ${tenantId} is disabled: ${because}`
  }
  if (notification.type === 'sink.gone') {
    const { sink, tenantId, deliveries, because } = notification
    return `${deliveries} notifications of tenant ${tenantId} to the sink ${sink} are given up: ${because}`
  }
  const { type, alert } = notification
  const what = `${alert.type} of run ${alert.runId} (tenant ${alert.tenantId}): ${alert.message}`
  return type === 'alert.resolved' ? `Resolved: ${what}` : `${alert.severity}: ${what}`
}

/** `12 more were held back: 10 × DUPLICATE, 2 × DOMAIN_COOLDOWN`; empty when none was. */
export function heldBackText(heldBack: HeldBack): string {
  const counts = Object.entries(heldBack).filter(([, n]) => n > 0)
  const total = counts.reduce((sum, [, n]) => sum + n, 0)
  if (total === 0) return ''
  const were = total === 1 ? 'was' : 'were'
  return `${total} more ${were} held back: ${counts.map(([why, n]) => `${n} × ${why}`).join(', ')}`
}
