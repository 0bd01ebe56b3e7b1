import { z } from 'zod'
import { isSecret, signatureHeaders } from '../../domains/deliveries/deliveries.ts'
import { AppError } from '../../foundation/app-error.ts'
import { issuesText } from '../../foundation/schema-issues.ts'
import { limits } from '../../limits.ts'
import { alertmanagerAlerts } from './alertmanager.ts'
import { heldBackText, type Notification, summaryOf } from './notification.ts'

const name = z.string().regex(/^[\w.-]{1,100}$/, 'has 1 to 100 letters, digits or any of _ . -')
const url = z.url({ protocol: /^https?$/ }).max(limits.subscriptionUrlCharsMax)
const secret = z.string().refine(isSecret, 'must be 24 to 64 bytes in base64, as in whsec_…')

const sinksSchema = z
  .array(
    z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('log'), name: name.default('log') }),
      z.strictObject({
        type: z.literal('webhook'),
        name: name.default('webhook'),
        url,
        /** One, or the new and the old one while receivers change over. */
        secret: z.union([secret, z.array(secret).min(1).max(5)]),
      }),
      z.strictObject({ type: z.literal('slack'), name: name.default('slack'), url }),
      z.strictObject({ type: z.literal('alertmanager'), name: name.default('alertmanager'), url }),
    ]),
  )
  .max(limits.sinksMax)
  .refine((sinks) => new Set(sinks.map((sink) => sink.name)).size === sinks.length, 'each sink needs a name of its own')

/**
 * Where notifications of alerts go: the log, a webhook (Standard Webhooks), a Slack-compatible one, or Alertmanager's
 * API v2 (`url` without its path). Two of one type need names.
 */
export type Sink = z.input<typeof sinksSchema>[number]
export type NamedSink = z.output<typeof sinksSchema>[number]

/** The log, unless others are defined. Fails with `INVALID_CONFIGURATION`. */
export function parseSinks(sinks: readonly Sink[] = [{ type: 'log' }]): readonly NamedSink[] {
  const parsed = sinksSchema.safeParse(sinks)
  if (parsed.success) return parsed.data
  throw new AppError('INVALID_CONFIGURATION', `sinks are not valid: ${issuesText(parsed.error)}`)
}

export function sinkTarget({ name }: NamedSink): string {
  return `sink/${name}`
}

/** What is sent for a notification. */
export interface SinkRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Pure. The request that tells a sink of a notification; `id` is the delivery's, the same in every attempt. */
export function sinkRequest(
  sink: Exclude<NamedSink, { type: 'log' }>,
  notification: Notification,
  id: string,
  at: Date,
): SinkRequest {
  switch (sink.type) {
    case 'webhook': {
      const { type, at: timestamp, ...data } = notification
      const body = JSON.stringify({ type, timestamp, data })
      const headers = signatureHeaders({ id, at, body }, [sink.secret].flat())
      return { url: sink.url, headers, body }
    }
    case 'slack':
      return { url: sink.url, headers: {}, body: JSON.stringify({ text: slackText(notification) }) }
    case 'alertmanager': {
      const alerts = alertmanagerAlerts(notification)
      return { url: `${sink.url.replace(/\/+$/, '')}/api/v2/alerts`, headers: {}, body: JSON.stringify(alerts) }
    }
  }
}

function whereToLook(notification: Notification): string {
  if ('alert' in notification) return `concordat audit get ${notification.alert.runId}`
  return notification.type === 'sink.gone' ? 'concordat alerts list' : 'concordat subscriptions list'
}

/** Slack reads &, < and > as its own: https://api.slack.com/reference/surfaces/formatting#escaping */
function slackText(notification: Notification): string {
  const held = 'heldBack' in notification ? heldBackText(notification.heldBack) : ''
  const escaped = [summaryOf(notification), held, whereToLook(notification)]
    .filter((line) => line !== '')
    .join('\n')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
  return escaped
}
