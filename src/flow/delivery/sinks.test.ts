import { Ajv2020 } from 'ajv/dist/2020.js'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { alertmanagerAlerts } from './alertmanager.ts'
import type { AlertNotification, Notification } from './notification.ts'
import { parseSinks, sinkRequest } from './sinks.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const raised: AlertNotification = {
  type: 'alert.raised',
  at: '2026-01-31T08:00:01.000Z',
  alert: {
    alertId: '01a2012f-71da-764b-9753-f4da008d67f2',
    tenantId: 'acme',
    runId: '01a2012f-3cd0-756e-8be5-3c46f1104969',
    type: 'MISSING_ACK',
    subject: 'incidents/create_incident',
    domain: 'incidents',
    severity: 'error',
    message: 'incidents/create_incident: only FAILED: <disk> & "full"',
    times: 1,
    raisedAt: '2026-01-31T08:00:00.000Z',
    resolvedAt: null,
  },
  heldBack: { DUPLICATE: 998, DOMAIN_COOLDOWN: 1 },
}
const resolved: AlertNotification = {
  ...raised,
  type: 'alert.resolved',
  alert: { ...raised.alert, resolvedAt: '2026-01-31T08:05:00.000Z' },
  heldBack: {},
}
const disabled: Notification = {
  type: 'subscription.disabled',
  at: '2026-01-31T08:00:00.000Z',
  tenantId: 'acme',
  subscriptionId: '01a2012f-71da-764b-9753-f4da008d67f2',
  url: 'https://example.com/hook',
  because: 'its endpoint answered 410 Gone',
}
const gone: Notification = {
  type: 'sink.gone',
  at: '2026-01-31T08:00:00.000Z',
  tenantId: 'acme',
  sink: 'pager',
  deliveries: 3,
  because: 'no process has had it for 3 days',
}
const each: [string, Notification][] = [raised, resolved, disabled, gone].map((notification) => [
  notification.type,
  notification,
])

/*
 * `postableAlerts` of Alertmanager's API v2, from api/v2/openapi.yaml of prometheus/alertmanager (0.28). Beyond its text:
 * `labelSet` values are not empty and names are legal, which the server demands of labels when it takes them.
 */
const labelSet = (value: object) => ({
  type: 'object',
  propertyNames: { pattern: '^[a-zA-Z_][a-zA-Z0-9_]*$' },
  additionalProperties: { type: 'string', ...value },
})
const POSTABLE_ALERTS = {
  type: 'array',
  items: {
    type: 'object',
    required: ['labels'],
    properties: {
      startsAt: { type: 'string', format: 'date-time' },
      endsAt: { type: 'string', format: 'date-time' },
      annotations: labelSet({}),
      labels: { ...labelSet({ minLength: 1 }), required: ['alertname'] },
      generatorURL: { type: 'string', format: 'uri' },
    },
    additionalProperties: false,
  },
}
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
const isPostable = new Ajv2020({ formats: { 'date-time': DATE_TIME, uri: true } }).compile(POSTABLE_ALERTS)

describe('Alertmanager', () => {
  it.each(each)('is sent what its API v2 takes: %s', (_, notification) => {
    const [sink] = parseSinks([{ type: 'alertmanager', url: 'http://alertmanager:9093/' }])
    if (sink?.type !== 'alertmanager') throw new Error('unreachable')
    const { url, body } = sinkRequest(sink, notification, 'id', new Date())
    expect(url).toBe('http://alertmanager:9093/api/v2/alerts')
    expect([isPostable(JSON.parse(body)), isPostable.errors]).toEqual([true, null])
  })

  it('resolves the alert that it was told of: the same labels, an end', () => {
    const [[fires], [over]] = [alertmanagerAlerts(raised), alertmanagerAlerts(resolved)]
    expect(over?.labels).toEqual(fires?.labels)
    expect(over?.startsAt).toBe(fires?.startsAt)
    expect(over?.endsAt).toBe('2026-01-31T08:05:00.000Z')
    expect(Date.parse(fires?.endsAt ?? '')).toBeGreaterThan(Date.parse('2026-02-20'))
    expect(fires?.annotations.held_back).toBe('999 more were held back: 998 × DUPLICATE, 1 × DOMAIN_COOLDOWN')
    expect(over?.annotations).not.toHaveProperty('held_back')
  })
})

describe('a webhook', () => {
  it.each(each)('is signed, with every secret that it has: %s', (_, notification) => {
    const secrets = [SECRET, `whsec_${Buffer.alloc(32, 7).toString('base64')}`]
    const [sink] = parseSinks([{ type: 'webhook', url: 'https://example.com/hook', secret: secrets }])
    if (sink?.type !== 'webhook') throw new Error('unreachable')
    const { headers, body } = sinkRequest(sink, notification, 'delivery-1', new Date())
    for (const secret of secrets) {
      const { type, timestamp, data } = new Webhook(secret).verify(body, { ...headers }) as Record<string, unknown>
      expect([type, timestamp, typeof data]).toEqual([notification.type, notification.at, 'object'])
    }
    expect(headers['webhook-id']).toBe('delivery-1')
    expect(body).not.toContain('whsec_')
  })
})

describe('a Slack-compatible webhook', () => {
  it('gets a text that names the run, what was held back and what to do, with Slack’s own signs escaped', () => {
    const [sink] = parseSinks([{ type: 'slack', url: 'https://hooks.example.com/x' }])
    if (sink?.type !== 'slack') throw new Error('unreachable')
    const { text } = JSON.parse(sinkRequest(sink, raised, 'id', new Date()).body)
    expect(text).toBe(
      [
        'error: MISSING_ACK of run 01a2012f-3cd0-756e-8be5-3c46f1104969 (tenant acme): incidents/create_incident: only FAILED: &lt;disk&gt; &amp; "full"',
        '999 more were held back: 998 × DUPLICATE, 1 × DOMAIN_COOLDOWN',
        'concordat audit get 01a2012f-3cd0-756e-8be5-3c46f1104969',
      ].join('\n'),
    )
  })
})

describe('sinks', () => {
  it('are the log unless others are defined', () => {
    expect(parseSinks()).toEqual([{ type: 'log', name: 'log' }])
  })

  it.each([
    [[{ type: 'pager' }]],
    [[{ type: 'webhook', url: 'https://example.com' }]],
    [[{ type: 'slack', url: 'ftp://example.com' }]],
    [[{ type: 'log' }, { type: 'log' }]],
  ])('are refused where they are not valid: %j', (sinks) => {
    expect(() => parseSinks(sinks as never)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }))
  })
})
