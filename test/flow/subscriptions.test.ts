import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { type Received, Receiver } from './support/receiver.ts'
import { until } from './support/until.ts'

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })
const SECRET = /whsec_[\w+/=]+/

describeOnDatabases('a subscription', (open) => {
  let runtime: TestRuntime
  const hook = new Receiver()
  const ops = new Receiver()
  const logged: string[] = []
  const lines = (...args: unknown[]) => void logged.push(JSON.stringify(args))
  const log = { debug: lines, info: lines, warn: lines, error: lines, child: () => log }
  beforeAll(async () => {
    await Promise.all([hook.listen(), ops.listen()])
    runtime = await open({
      agents: [works],
      log,
      allowedPrivateHosts: [hook.host],
      sinks: [{ type: 'slack', url: ops.url }],
    })
  })
  afterAll(() => Promise.all([hook.close(), ops.close()]))

  const subscriptions = () => runtime.concordat.subscriptions
  /** Each test has a tenant of its own, called as the path that its events are sent to. */
  const create = async (path: string, types = ['run.completed'], tenantId = path) => {
    await runtime.concordat.tenants.put({ tenantId })
    return subscriptions().create({ tenantId, url: `${hook.url}/${path}`, types })
  }
  const end = async (tenant: string) => runtime.ended(await runtime.runs.submit({ tenant, agent: 'works' }))
  const at = (path: string, runId?: string) => (each: Received) =>
    each.path === `/${path}` && (runId === undefined || JSON.parse(each.body).subject === runId)
  const idOf = ({ headers }: Received) => headers['webhook-id']
  const verify = (secret: string, { body, headers }: Received) =>
    new Webhook(secret).verify(body, headers as Record<string, string>)
  const deliveriesTo = ({ subscriptionId }: { subscriptionId: string }) =>
    runtime.database.query<{ state: string; attempts: number; last_error: string | null; due_in_seconds: number }>(
      `select state, attempts, last_error, extract(epoch from due_at - clock_timestamp())::float8 as due_in_seconds
         from concordat.deliveries where target = $1 order by created_at`,
      [`subscription/${subscriptionId}`],
    )
  const makeDue = ({ subscriptionId }: { subscriptionId: string }) =>
    runtime.database.query(
      `update concordat.deliveries set due_at = clock_timestamp() where target = $1 and state = 'pending'`,
      [`subscription/${subscriptionId}`],
    )

  it.concurrent('has a run’s completion sent to its URL once: a CloudEvent, signed', async () => {
    const subscription = await create('once')
    const run = await end('once')
    const [message] = await hook.got(1, at('once'))
    if (!message) throw new Error('unreachable')
    expect(verify(subscription.secret, message)).toMatchObject({
      specversion: '1.0',
      type: 'run.completed',
      subject: run.runId,
      tenantid: 'once',
      data: { status: 'succeeded' },
    })
    expect(message.headers['content-type']).toBe('application/cloudevents+json')
    const other = await end('once')
    await hook.got(1, at('once', other.runId))
    expect(hook.received.filter(at('once'))).toHaveLength(2)
  })

  it.concurrent('gets only the types and prefixes that it asked for, of its own tenant', async () => {
    await Promise.all([create('trace', ['trace.*']), create('other', ['*'])])
    const run = await end('trace')
    const got = await hook.got(2, at('trace', run.runId))
    expect(got.map(({ body }) => JSON.parse(body).type).toSorted()).toEqual(['trace.completed', 'trace.started'])
    expect(hook.received.filter(at('other'))).toEqual([])
  })

  it.concurrent('gets it again under the same id until it answers with 2xx, when it wants to; redirects are not followed', async () => {
    const subscription = await create('again')
    let answers = 0
    hook.answer = (response) => {
      const path = response.req.url
      if (path === '/private') throw new Error('the redirect was followed')
      if (path === '/huge') response.writeHead(200).write('x'.repeat(1_000_000))
      else if (path === '/gone') response.writeHead(410).end()
      else if (path === '/again' && ++answers === 1) response.writeHead(302, { location: `${ops.url}/private` }).end()
      else if (path === '/again' && answers === 2) response.writeHead(503, { 'retry-after': '600' }).end()
      else if (path === '/down') response.writeHead(500).end()
      else response.writeHead(204).end()
    }
    const run = await end('again')
    await hook.got(1, at('again', run.runId))
    await until(
      () => deliveriesTo(subscription),
      ([row]) => row?.last_error === 'status 302',
    )
    await makeDue(subscription)
    const [busy] = await until(
      () => deliveriesTo(subscription),
      ([row]) => row?.last_error === 'status 503',
    )
    expect(busy?.due_in_seconds).toBeGreaterThan(500)
    expect(
      (await subscriptions().list()).find((each) => each.subscriptionId === subscription.subscriptionId),
    ).toMatchObject({
      state: 'enabled',
      failingSince: expect.any(Date),
      lastError: 'status 503',
    })
    await makeDue(subscription)
    await until(
      () => deliveriesTo(subscription),
      ([row]) => row?.state === 'delivered',
    )
    const got = hook.received.filter(at('again', run.runId))
    expect([got.length, new Set(got.map(idOf)).size]).toEqual([3, 1])
    for (const each of got) expect(verify(subscription.secret, each)).toBeDefined()
    expect(ops.received.filter(at('private'))).toEqual([])
  })

  it.concurrent('is signed with the old secret too after a rotation, as long as the overlap lasts', async () => {
    const { subscriptionId, secret } = await create('rotated')
    const rotated = await subscriptions().rotateSecret(subscriptionId)
    expect(rotated.secret).not.toBe(secret)
    const first = await end('rotated')
    const [both] = await hook.got(1, at('rotated', first.runId))
    if (!both) throw new Error('unreachable')
    for (const each of [secret, rotated.secret]) expect(verify(each, both)).toBeDefined()
    const last = await subscriptions().rotateSecret(subscriptionId, { overlapMs: 0 })
    const second = await end('rotated')
    const [one] = await hook.got(1, at('rotated', second.runId))
    if (!one) throw new Error('unreachable')
    expect(verify(last.secret, one)).toBeDefined()
    expect(() => verify(rotated.secret, one)).toThrow()
  })

  it.concurrent('is disabled when nothing has arrived for days, or it says that it is gone: with a notice', async () => {
    const [down, gone] = await Promise.all([
      create('down', ['run.completed'], 'both'),
      create('gone', ['run.completed'], 'both'),
    ])
    await runtime.database.query(
      `update concordat.subscriptions set failing_since = clock_timestamp() - interval '73 h' where subscription_id = $1`,
      [down.subscriptionId],
    )
    const run = await end('both')
    const stateOf = async ({ subscriptionId }: { subscriptionId: string }) =>
      (await subscriptions().list()).find((each) => each.subscriptionId === subscriptionId)
    const disabled = await until(
      () => stateOf(down),
      (seen) => seen?.state === 'disabled',
    )
    expect(disabled?.disabledBecause).toBe('no delivery arrived for 72 h; the last one: status 500')
    const answered = await until(
      () => stateOf(gone),
      (seen) => seen?.state === 'disabled',
    )
    expect(answered?.disabledBecause).toBe('its endpoint answered 410 Gone')
    const tellsOf =
      (id: string) =>
      ({ body }: Received) =>
        body.includes(id)
    const [notice] = await ops.got(1, tellsOf(down.subscriptionId))
    await ops.got(1, tellsOf(gone.subscriptionId))
    expect(JSON.parse(notice?.body ?? '').text).toContain('is disabled: no delivery arrived for 72 h')
    expect((await deliveriesTo(down)).every(({ state }) => state === 'dead')).toBe(true)
    expect(hook.received.filter(at('down', run.runId))).toHaveLength(1)
    await subscriptions().enable(gone.subscriptionId)
    expect(await stateOf(gone)).toMatchObject({ state: 'enabled', disabledBecause: null, failingSince: null })
    await subscriptions().disable(gone.subscriptionId, { because: 'no longer needed' })
    await subscriptions().delete(down.subscriptionId)
    expect(await stateOf(down)).toBeUndefined()
    await expect(subscriptions().delete(down.subscriptionId)).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' })
  })

  it.concurrent('that answers without an end takes no more than its head', async () => {
    const subscription = await create('huge')
    await end('huge')
    await until(
      () => deliveriesTo(subscription),
      ([row]) => row?.state === 'delivered',
    )
  })

  it.concurrent.each([
    ['http://10.0.0.1/hook'],
    ['http://169.254.169.254/latest/meta-data'],
    ['http://[::1]:80/'],
    ['http://localhost:1/'],
  ])('to a private address is refused unless it is allowed: %s', async (url) => {
    const refused = subscriptions().create({ url, types: ['*'] })
    await expect(refused).rejects.toMatchObject({ code: 'HTTP_BLOCKED_ADDRESS' })
  })

  it('gets it again under the same id when its sender died before it could note that it had arrived', async () => {
    const subscription = await create('killed')
    let refused = false
    const restore = runtime.database.intercept(({ statement }) => {
      if (statement !== 'deliveries_settle' || refused) return
      refused = true
      throw new Error('killed')
    })
    const run = await end('killed')
    await hook.got(1, at('killed', run.runId))
    await until(
      async () => refused,
      (is) => is,
    )
    restore()
    expect(await deliveriesTo(subscription)).toMatchObject([{ state: 'pending', attempts: 1 }])
    await makeDue(subscription)
    const got = await hook.got(2, at('killed', run.runId))
    expect(new Set(got.map(idOf)).size).toBe(1)
    await until(
      () => deliveriesTo(subscription),
      ([row]) => row?.state === 'delivered',
    )
  })

  it('never shows its secret: not in lists, rows of deliveries, events, logs or metrics', async () => {
    const rows = await runtime.database.query('select * from concordat.deliveries')
    const events = await runtime.database.query('select events from concordat.outbox')
    const shown = [await subscriptions().list(), rows, events, logged, await runtime.concordat.metrics.text()]
    expect(JSON.stringify(shown, (_, value) => (typeof value === 'bigint' ? `${value}` : value))).not.toMatch(SECRET)
    await expect(subscriptions().create({ tenantId: 'nobody', url: hook.url, types: ['*'] })).rejects.toMatchObject({
      code: 'UNKNOWN_TENANT',
    })
  })
})
