import { heldBackText, type Notification, summaryOf } from './notification.ts'

/** As `postableAlert` of Alertmanager's API v2 (api/v2/openapi.yaml in prometheus/alertmanager). */
export interface PostableAlert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly startsAt: string
  readonly endsAt: string
}

/** An alert without an end is forgotten after its `resolve_timeout` of minutes; ours fire until they are resolved. */
const FIRES_FOR_MS = 30 * 86_400_000

/** Pure. What Alertmanager is told: the labels make the alert, and the same ones with an end in the past resolve it. */
export function alertmanagerAlerts(notification: Notification): PostableAlert[] {
  const summary = summaryOf(notification)
  if (notification.type === 'subscription.disabled') {
    const { tenantId, subscriptionId, url, at, because } = notification
    const labels = {
      alertname: 'ConcordatSubscriptionDisabled',
      severity: 'warning',
      tenant: tenantId,
      subscription: subscriptionId,
    }
    return [{ labels, annotations: { summary, url, because }, startsAt: at, endsAt: endOf(at) }]
  }
  if (notification.type === 'sink.gone') {
    const { tenantId, sink, at, because } = notification
    const labels = { alertname: 'ConcordatSinkGone', severity: 'warning', tenant: tenantId, sink }
    return [{ labels, annotations: { summary, because }, startsAt: at, endsAt: endOf(at) }]
  }
  const { alert, heldBack } = notification
  const held = heldBackText(heldBack)
  const labels = {
    alertname: `Concordat${pascal(alert.type)}`,
    severity: alert.severity,
    tenant: alert.tenantId,
    run: alert.runId,
    domain: alert.domain,
    subject: alert.subject,
  }
  const annotations = { summary, description: alert.message, ...(held !== '' && { held_back: held }) }
  const endsAt = notification.type === 'alert.resolved' ? (alert.resolvedAt ?? notification.at) : endOf(alert.raisedAt)
  return [{ labels, annotations, startsAt: alert.raisedAt, endsAt }]
}

function endOf(startsAt: string): string {
  return new Date(Date.parse(startsAt) + FIRES_FOR_MS).toISOString()
}

/** `MISSING_ACK` as `MissingAck`. */
function pascal(words: string): string {
  return words.toLowerCase().replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase())
}
