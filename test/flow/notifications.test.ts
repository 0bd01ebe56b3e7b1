import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { raiseAlerts } from '../../src/domains/alerts/alerts.ts'
import { deliveryHandlers } from '../../src/flow/delivery/delivery.ts'
import { redriveEvents } from '../../src/flow/reactor/reactor.ts'
import { appendEvents, EventEnvelope } from '../../src/foundation/events/events.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing } from './support/databases.ts'
import { type Received, Receiver } from './support/receiver.ts'
import { until } from './support/until.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })

/** Of an alert as sinks get it, as people read them. */
const KEYS = 'alertId tenantId runId type subject domain severity message times raisedAt resolvedAt'.split(' ')

const envelope = (fields: Pick<EventEnvelope, 'id' | 'time' | 'runId' | 'tenantId' | 'data'>) =>
  new EventEnvelope({ ...fields, type: 'alert.raised', partition: 0, position: 1 })

interface Told {
  readonly type: string
  readonly heldBack: Record<string, number>
  readonly alert: {
    readonly runId: string
    readonly tenantId: string
    readonly type: string
    readonly resolvedAt: string | null
  }
}

/** What the reference verifier accepts of a message. */
function told({ body, headers }: Received): Told {
  const { type, data } = new Webhook(SECRET).verify(body, headers as Record<string, string>) as {
    type: string
    data: object
  }
  return { type, ...data } as Told
}

/** Ends runs of a tenant, then breaks what is left of them. */
function breaker(runtime: TestRuntime) {
  const end = async (tenantId: string, count: number) => {
    await runtime.concordat.tenants.put({ tenantId })
    const runs = await Promise.all(
      Array.from({ length: count }, () => runtime.runs.submit({ tenant: tenantId, agent: 'works' })),
    )
    await Promise.all(runs.map((run) => runtime.ended(run)))
    return runs.map(({ runId }) => runId)
  }
  const unack = (runIds: readonly string[], action: string) =>
    runtime.database.query('delete from concordat.audit_acks where run_id = any($1::uuid[]) and action = $2', [
      runIds,
      action,
    ])
  const ack = (runIds: readonly string[], domain: string, action: string) =>
    runtime.database.query(
      `insert into concordat.audit_acks (tenant_id, run_id, domain, action, attempt, status, acked_at)
       select tenant_id, run_id, $2, $3, 1, 'SUCCESS', now() from concordat.runs where run_id = any($1::uuid[])`,
      [runIds, domain, action],
    )
  const reconcile = (tenantId: string, runIds: readonly string[]) =>
    runtime.concordat.audit.reconcileMany(tenantId, runIds)
  const outcomes = async () => {
    const text = await runtime.concordat.metrics.text()
    return Object.fromEntries(
      [...text.matchAll(/alert_notifications_total\{outcome="(\w+)"\} (\d+)/g)].map(([, k, n]) => [k, Number(n)]),
    )
  }
  return { end, unack, ack, reconcile, outcomes }
}

describeOnPostgres('an alert’s notification', (server) => {
  const { later, closeLater } = closing()
  let runtime: TestRuntime
  let act: ReturnType<typeof breaker>
  const ops = new Receiver()
  const manager = new Receiver()
  beforeAll(async () => {
    await Promise.all([ops.listen(), manager.listen()])
    const sinks = [
      { type: 'webhook', url: ops.url, secret: SECRET },
      { type: 'alertmanager', url: manager.url },
    ] as const
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    runtime = closeLater(await createTestRuntime({ databaseUrl, agents: [works], sinks }))
    act = breaker(runtime)
  })
  afterAll(() => Promise.all([ops.close(), manager.close()]))

  const of = (tenantId: string) => (each: Received) => each.body.includes(`"${tenantId}"`)
  const toldOf = async (tenantId: string, count: number) => (await ops.got(count, of(tenantId))).map(told)
  /** Waits until the reactor has dealt with so many alerts of the tenant, told or held back. */
  const dealtWith = (tenantId: string, count: number) =>
    until(
      async () => {
        const [row] = await runtime.database.query<{
          state: { sent: unknown[]; held: object; open: { held: object }[] }
        }>('select state from concordat.alert_fatigue where tenant_id = $1', [tenantId])
        const held = [row?.state.held ?? {}, ...(row?.state.open ?? []).map((open) => open.held)].flatMap(
          (each) => Object.values(each) as number[],
        )
        return (row?.state.sent.length ?? 0) + held.reduce((sum, n) => sum + n, 0)
      },
      (n) => n >= count,
    )

  const silenced = (tenantId: string, count: number) =>
    until(
      () =>
        runtime.database.query(
          'select from concordat.alerts where tenant_id = $1 and silenced_until > clock_timestamp()',
          [tenantId],
        ),
      (rows) => rows.length === count,
    )

  it.concurrent('goes out once, signed, to every sink; and that it is over, when it is', async () => {
    const [runId = ''] = await act.end('one', 1)
    await act.unack([runId], 'evaluate_policy')
    await act.reconcile('one', [runId])
    const [raised] = await toldOf('one', 1)
    expect(raised).toMatchObject({
      type: 'alert.raised',
      heldBack: {},
      alert: { runId, type: 'MISSING_ACK', resolvedAt: null },
    })
    const [posted] = await manager.got(1, of('one'))
    expect(posted?.path).toBe('/api/v2/alerts')
    expect(JSON.parse(posted?.body ?? '')).toMatchObject([{ labels: { alertname: 'ConcordatMissingAck', run: runId } }])
    await act.ack([runId], 'policies', 'evaluate_policy')
    await act.reconcile('one', [runId])
    const [, resolved] = await toldOf('one', 2)
    expect(resolved).toMatchObject({ type: 'alert.resolved', alert: { runId, resolvedAt: expect.any(String) } })
    const [, over] = await manager.got(2, of('one'))
    expect(Date.parse(JSON.parse(over?.body ?? '')[0].endsAt)).toBeLessThan(Date.now() + 60_000)
  })

  it.concurrent('of hundreds of identical failures is one, which tells how many were held back; the next one, of the rest', async () => {
    const runIds = await act.end('many', 300)
    await act.unack(runIds, 'create_incident')
    await act.reconcile('many', runIds)
    await dealtWith('many', 300)
    const [first] = await toldOf('many', 1)
    expect(first?.heldBack.DUPLICATE).toBe(299)
    await runtime.database.query(
      `update concordat.alert_fatigue set state = jsonb_set(state, '{domains}', '{}') || '{"keys": {}}' where tenant_id = 'many'`,
    )
    const [late = ''] = await act.end('many', 1)
    await act.unack([late], 'create_incident')
    await act.reconcile('many', [late])
    const [, second] = await toldOf('many', 2)
    expect(second).toMatchObject({ type: 'alert.raised', alert: { runId: late }, heldBack: {} })
    expect(ops.received.filter(of('many'))).toHaveLength(2)
  })

  it.concurrent('of a thousand identical failures, spread over a minute, is one; a restart in between changes nothing', async () => {
    const { database } = runtime
    await runtime.concordat.tenants.put({ tenantId: 'minute' })
    const startMs = Date.now() + 3_600_000 // nobody sends it meanwhile
    let nowMs = startMs
    const clock = { now: () => new Date(nowMs), nowMs: () => nowMs }
    const sinks = [{ type: 'webhook', name: 'webhook', url: ops.url, secret: SECRET }] as const
    const noted = { database, sinks, clock, newId: crypto.randomUUID.bind(crypto), metrics: createMetrics() }
    const started = () => deliveryHandlers({ ...noted, alertsEnabled: true }).find(({ type }) => type === 'alert.*')
    const alerts = Array.from({ length: 1_000 }, () => ({
      tenantId: 'minute',
      runId: crypto.randomUUID(),
      type: 'MISSING_ACK' as const,
      subject: 'logs/complete_trace',
      domain: 'logs',
      message: 'never acknowledged',
    }))
    const raised = await database.transaction(async (tx) => {
      const stored = await raiseAlerts(tx, alerts, { at: new Date(nowMs), newId: noted.newId })
      await tx.query(`delete from concordat.outbox where tenant_id = 'minute'`) // handled here, by another clock
      return stored
    })
    let notify = started()
    await database.transaction(async (tx) => {
      for (const [i, { alertId, runId, tenantId }] of raised.entries()) {
        nowMs = startMs + i * 60
        if (i === 500) notify = started()
        const time = new Date(nowMs).toISOString()
        await notify?.handle(envelope({ id: noted.newId(), time, runId, tenantId, data: { alertId } }), { tx })
      }
    })
    const rows = await database.query<{ payload: string; in_ms: number }>(
      `select payload::text, extract(epoch from due_at)::float8 * 1000 - $1 as in_ms from concordat.deliveries
        where tenant_id = 'minute'`,
      [startMs],
    )
    expect(rows).toHaveLength(1)
    const { heldBack, ...notification } = JSON.parse(rows[0]?.payload ?? '')
    expect(heldBack).toEqual({ DUPLICATE: 999 })
    expect(Object.keys(notification.alert)).toEqual(KEYS)
    expect(rows[0]?.in_ms).toBeLessThan(65_001)
  })

  it.concurrent('is not sent while a silence lasts, nor for what a stale run brings with it', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'quiet' })
    const silence = { tenantId: 'quiet', type: 'DRIFT', until: new Date(Date.now() + 60_000), by: 'ada' } as const
    await runtime.concordat.alerts.silence(silence)
    const [drifted = '', stale = ''] = await act.end('quiet', 2)
    // A look on schedule would resolve the alert that this test makes up.
    await runtime.database.query('delete from concordat.audit_looks where run_id = $1', [stale])
    await act.ack([drifted], 'incidents', 'delete_incident')
    await act.reconcile('quiet', [drifted])
    await runtime.database.query(
      `insert into concordat.alerts (tenant_id, run_id, type, subject, alert_id, severity, state, message, raised_at)
       values ('quiet', $1, 'STALE_RUN', 'orchestrator/finalize_run', gen_random_uuid(), 'error', 'firing', 'stale', now())`,
      [stale],
    )
    // Not by a reconciliation: it would resolve the stale run's alert, which only this test has made up.
    const alertId = '01a2012f-71da-764b-9753-f4da008d67f2'
    await runtime.database.query(
      `insert into concordat.alerts (tenant_id, run_id, type, subject, alert_id, severity, state, message, raised_at, domain)
       values ('quiet', $1, 'MISSING_ACK', 'logs/complete_trace', $2, 'error', 'firing', 'missing', now(), 'logs')`,
      [stale, alertId],
    )
    const event = {
      id: crypto.randomUUID(),
      type: 'alert.raised',
      time: new Date().toISOString(),
      data: { alertId },
    } as const
    await appendEvents(runtime.database, [{ tenantId: 'quiet', runId: stale, events: [event] }])
    await silenced('quiet', 1)
    await until(act.outcomes, ({ INHIBITED = 0 }) => INHIBITED >= 1)
    expect(ops.received.filter(of('quiet'))).toEqual([])
    expect(await runtime.concordat.alerts.silences('quiet')).toMatchObject([{ type: 'DRIFT', by: 'ada' }])
    const refused = (change: object) => runtime.concordat.alerts.silence({ ...silence, ...change })
    await expect(refused({ until: new Date(0) })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(refused({ type: 'DRIFTING' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(refused({ tenantId: 'nobody' })).rejects.toMatchObject({ code: 'UNKNOWN_TENANT' })
  })

  it.concurrent('is sent when the silence ends, if the alert still fires', async () => {
    await runtime.concordat.tenants.put({ tenantId: 'hushed' })
    await runtime.concordat.alerts.silence({ tenantId: 'hushed', until: new Date(Date.now() + 60_000), by: 'ada' })
    const [stays = '', passes = ''] = await act.end('hushed', 2)
    await act.unack([stays], 'create_incident')
    await act.unack([passes], 'start_trace')
    await act.reconcile('hushed', [stays, passes])
    await silenced('hushed', 2)
    await act.ack([passes], 'logs', 'start_trace')
    await act.reconcile('hushed', [passes])
    await runtime.database.query(`update concordat.alert_silences set until = now() where tenant_id = 'hushed'`)
    await runtime.database.query(`update concordat.alerts set silenced_until = now() where tenant_id = 'hushed'`)
    const [told] = await toldOf('hushed', 1)
    expect(told).toMatchObject({ type: 'alert.raised', alert: { runId: stays } })
    expect(ops.received.filter(of('hushed'))).toHaveLength(1)
  })

  it.concurrent('that it fires again comes through to who was told that it is over', async () => {
    const [runId = ''] = await act.end('flap', 1)
    await act.unack([runId], 'start_trace')
    await act.reconcile('flap', [runId])
    await toldOf('flap', 1)
    await act.ack([runId], 'logs', 'start_trace')
    await act.reconcile('flap', [runId])
    await toldOf('flap', 2)
    await act.unack([runId], 'start_trace')
    await act.reconcile('flap', [runId])
    const rows = await until(
      () =>
        runtime.database.query<{ in_ms: number }>(
          `select extract(epoch from due_at - clock_timestamp())::float8 * 1000 as in_ms from concordat.deliveries
            where tenant_id = 'flap' and target = 'sink/webhook' and state = 'pending' and attempts = 0`,
        ),
      (seen) => seen.length === 1 && (seen[0]?.in_ms ?? 0) > 5_000, // the one before may not be settled yet
    )
    expect(rows[0]?.in_ms).toBeGreaterThan(40_000)
    expect(rows[0]?.in_ms).toBeLessThan(62_000)
    await runtime.database.query(
      `update concordat.deliveries set due_at = now() where tenant_id = 'flap' and state = 'pending'`,
    )
    expect((await toldOf('flap', 3)).map(({ type }) => type)).toEqual([
      'alert.raised',
      'alert.resolved',
      'alert.raised',
    ])
  })
})

describeOnPostgres('fatigue control', (server) => {
  const { later, closeLater } = closing()

  it('survives a restart: nothing is told twice, and what is new is told', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const ops = closeLater(await new Receiver().listen())
    const sinks = [{ type: 'webhook', url: ops.url, secret: SECRET }] as const
    const open = () => createTestRuntime({ databaseUrl, agents: [works], sinks })
    const before = await open()
    const first = breaker(before)
    const [one = '', two = '', three = ''] = await first.end('acme', 3)
    await first.unack([one], 'create_incident')
    await first.reconcile('acme', [one])
    await ops.got(1)
    await before.close()
    const after = closeLater(await open())
    const again = breaker(after)
    await again.unack([two], 'create_incident')
    await again.reconcile('acme', [two])
    await until(again.outcomes, ({ DUPLICATE = 0 }) => DUPLICATE >= 1)
    await again.unack([three], 'evaluate_policy') // not before: the sweep may find it first
    await again.reconcile('acme', [three])
    await ops.got(2)
    const seen = ops.received.map(told)
    expect(seen.map(({ alert }) => alert.runId)).toEqual([one, three])
    expect(seen[1]?.heldBack).toEqual({ DUPLICATE: 1 })
  })

  it('knows by a redrive what was told of: it is not told again, and holds back nothing that is new', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const ops = closeLater(await new Receiver().listen())
    const sinks = [{ type: 'webhook', url: ops.url, secret: SECRET }] as const
    const runtime = closeLater(await createTestRuntime({ databaseUrl, agents: [works], sinks }))
    const { end, unack, reconcile, outcomes } = breaker(runtime)
    const [one = '', two = ''] = await end('acme', 2)
    await unack([one], 'create_incident')
    await reconcile('acme', [one])
    await ops.got(1)
    await runtime.database.query(`update concordat.alert_fatigue set state = state || '{"keys": {}, "domains": {}}'`) // an hour later
    await redriveEvents(runtime.database, { handler: 'concordat.notify', from: { position: 1 } })
    await until(outcomes, ({ SENT = 0, TOLD = 0 }) => SENT + TOLD >= 2)
    await unack([two], 'create_incident')
    await reconcile('acme', [two])
    await ops.got(2)
    expect(ops.received.map(told).map(({ alert }) => alert.runId)).toEqual([one, two])
    expect(await outcomes()).toEqual({ SENT: 2, TOLD: 1 })
  })

  it('gives up what has waited for days for a sink that was taken out, and tells the sinks that there are', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const ops = closeLater(await new Receiver().listen())
    const manager = closeLater(await new Receiver().listen())
    const open = () =>
      createTestRuntime({
        databaseUrl,
        agents: [works],
        sinks: [
          { type: 'webhook', url: ops.url, secret: SECRET },
          { type: 'alertmanager', url: manager.url },
        ],
      })
    const before = await open()
    const waiting = (hours: number) =>
      before.database.query(
        `insert into concordat.deliveries (delivery_id, tenant_id, target, source_id, payload, due_at)
         values (gen_random_uuid(), 'default', 'sink/pager', gen_random_uuid(), '{}', clock_timestamp() - $1 * interval '1 h')`,
        [hours],
      )
    for (const hours of [71, 73, 80]) await waiting(hours)
    await before.close()
    const after = closeLater(await open()) // looks when it starts, then every minute
    const [notice] = (await ops.got(1)).map(({ body, headers }) =>
      new Webhook(SECRET).verify(body, headers as Record<string, string>),
    )
    expect(notice).toMatchObject({ type: 'sink.gone', data: { sink: 'pager', tenantId: 'default', deliveries: 2 } })
    const [posted] = await manager.got(1)
    expect(JSON.parse(posted?.body ?? '')).toMatchObject([
      {
        labels: { alertname: 'ConcordatSinkGone', sink: 'pager' },
        annotations: { summary: expect.stringContaining('2') },
      },
    ])
    const left = await after.database.query(
      `select state, last_error from concordat.deliveries where target = 'sink/pager' order by due_at`,
    )
    const dead = { state: 'dead', last_error: 'no process has its sink any more' }
    expect(left).toEqual([dead, dead, { state: 'pending', last_error: null }])
  })

  it('is not asked, and nobody told, with AUDIT_ALERTS_ENABLED=false: the alert is stored', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const ops = closeLater(await new Receiver().listen())
    const sinks = [{ type: 'slack', url: ops.url }] as const
    const config = { governanceProfile: 'STANDARD', auditAlertsEnabled: false } as const
    const runtime = closeLater(await createTestRuntime({ databaseUrl, agents: [works], sinks, config }))
    const act = breaker(runtime)
    const runIds = await act.end('acme', 1)
    await act.unack(runIds, 'create_incident')
    await act.reconcile('acme', runIds)
    // A count, not an effect: an event that is handled again after a fault counts again.
    await expect.poll(async () => (await act.outcomes()).DISABLED).toBeGreaterThanOrEqual(1)
    expect(Object.keys(await act.outcomes())).toEqual(['DISABLED'])
    expect(await runtime.concordat.alerts.list()).toMatchObject([{ state: 'firing', type: 'MISSING_ACK' }])
    expect(await runtime.database.query('select from concordat.deliveries')).toEqual([])
  })
})
