import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { describe, expect, it } from 'vitest'
import type { EventHandler, Unhealthy } from '../../src/flow/reactor/reactor.ts'
import { type Bus, createBus } from '../../src/foundation/bus/bus.ts'
import { systemClock } from '../../src/foundation/clock.ts'
import { type EventEnvelope, pruneOutbox } from '../../src/foundation/events/events.ts'
import { createLogger, silentLogger } from '../../src/foundation/log.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { Gate } from '../flow/support/gate.ts'
import { until } from '../flow/support/until.ts'
import { sharedSnapshot } from '../support/embedded.ts'
import { describeOnPostgres, describeOnRedis, startRedis } from '../support/servers.ts'
import { hearing, newId, ReactorWorld, transports, untilHeard } from './reactor-world.ts'

const HOUR_MS = 3_600_000
/** How often a reactor's loop runs. */
const TICK_MS = 50
const runs = (count: number) => Array.from({ length: count }, newId)
const openIncidents = ({ database }: ReactorWorld) =>
  database.query<{ reason: string; message: string }>(
    `select reason, message from concordat.system_incidents where status = 'open'`,
  )

describe('a runtime that is closed', () => {
  it('stops the reactor that a program has started by itself, which says at once what it is about to do', async () => {
    const { concordat } = await createTestRuntime({ started: false, snapshot: await sharedSnapshot() })
    const { reactor } = concordat
    const running = reactor.start()
    expect(reactor.state).toBe('STARTING')
    await reactor.startBackground()
    expect(reactor.state).toBe('RUNNING')
    await concordat.close()
    expect(reactor.state).toBe('STOPPED')
    await running
  })
})

describeOnPostgres('a reactor', (server) => {
  it('calls methods of classes that are decorated, each instance its own', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    const reactor = await world.reactor()
    // What TypeScript makes of `@reactor.on('run.started', …)` on a method: Node runs no decorators itself.
    const initializers: ((this: unknown) => void)[] = []
    const context = {
      name: 'notify',
      addInitializer: (added: (this: unknown) => void) => void initializers.push(added),
    }
    class Notifier {
      readonly heard: EventEnvelope[] = []
      constructor() {
        for (const initialize of initializers) initialize.call(this)
      }
      notify(this: Notifier, event: EventEnvelope) {
        this.heard.push(event)
      }
    }
    reactor.on('run.started')(Notifier.prototype.notify as never, context)
    const notifier = new Notifier()
    expect(reactor.handlers).toEqual(['run.started:Notifier.notify'])
    await reactor.startBackground()
    await world.commit(runs(3), ['run.created', 'run.started'])
    await untilHeard(notifier.heard, 3)
    expect(notifier.heard.map(({ type }) => type)).toEqual(['run.started', 'run.started', 'run.started'])
    const second = new Notifier()
    expect(reactor.handlers).toEqual(['run.started:Notifier.notify', 'run.started:Notifier.notify#2'])
    await untilHeard(second.heard, 3)
    await world.close()
  })

  it('refuses what is no handler at once, not when it is started', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    const reactor = await world.reactor()
    const on = reactor.on.bind(reactor) as (...given: unknown[]) => unknown
    const handle = () => {}
    const refused = [
      ...[undefined, null, 5, {}, '', '**', 'run.', '*.run', ' ', 'x'.repeat(5_000)].map((type) => [type, handle]),
      ...['no function', 42, null].map((handler) => ['run.failed', handler]),
      ['run.failed', undefined, { name: 'forgotten' }],
      ...[
        { name: 5 },
        { name: '' },
        { priority: 'high' },
        { attemptsMax: 0 },
        { from: 'then' },
        { transactional: 'yes' },
      ].map((options) => ['run.failed', handle, options]),
    ]
    for (const given of refused) {
      expect(() => on(...given), JSON.stringify(given)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
    }
    expect(reactor.handlers).toEqual([])
    await reactor.startBackground()
    expect(reactor.state).toBe('RUNNING')
    await world.close()
  })

  it('that can’t start leaves nothing open, and starts when it can', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    const { database } = world
    const outbox = await createBus({ transport: 'postgres', database, log: silentLogger })
    await outbox.start()
    let open = 0
    const feed: Bus['feed'] = async (options) => {
      const opened = await outbox.feed(options)
      open++
      return { ...opened, close: () => opened.close().then(() => void open--) }
    }
    const reactor = await world.reactor({ bus: Object.create(outbox, { feed: { value: feed } }) as Bus })
    const { heard, handle } = hearing()
    reactor.on('*', handle, { name: 'all' })
    await database.query('alter table concordat.reactor_members rename to away')
    await expect(reactor.startBackground()).rejects.toThrow('reactor_members')
    expect([reactor.state, open]).toEqual(['STOPPED', 0])
    await database.query('alter table concordat.away rename to reactor_members')
    await reactor.startBackground()
    await world.commit(runs(3))
    await untilHeard(heard, 3)
    await reactor.stop()
    expect([reactor.state, open]).toEqual(['STOPPED', 0])
    await outbox.stop()
    await world.close()
  })

  it('stops within its time though it waits for a handler that hangs, to begin with another one', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    let looks = 0
    const clock = {
      ...systemClock,
      nowMs: () => {
        looks++
        return systemClock.nowMs()
      },
    }
    const reactor = await world.reactor({ clock, drainTimeoutMs: 100 })
    const called = Promise.withResolvers<AbortSignal>()
    const hangs: EventHandler = (_, { signal }) => {
      called.resolve(signal)
      return new Promise(() => {})
    }
    reactor.on('*', hangs, { name: 'hangs' })
    await reactor.startBackground()
    await world.commit(runs(1))
    const signal = await called.promise
    reactor.on('*', () => {}, { name: 'another' })
    await until(
      async () => {
        const before = looks
        await pause(4 * TICK_MS)
        return looks - before
      },
      (ticks) => ticks === 0,
    ) // its loop waits for the handler
    await reactor.stop()
    expect(String(signal.reason)).toContain('The reactor stops')
    await world.close()
  })

  it('goes on when the callback for unhealthy ones fails', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    let told = 0
    const reactor = await world.reactor({
      heartbeatIntervalMs: 50,
      onUnhealthy: async () => {
        told++
        throw new Error('nobody is there')
      },
    })
    await reactor.startBackground()
    await world.database.query('delete from concordat.reactor_members')
    await until(
      () => told,
      (times) => times === 1,
    )
    const { heard, handle } = hearing()
    reactor.on('*', handle, { name: 'all' }) // joins anew
    await world.commit(runs(3))
    await untilHeard(heard, 3)
    await until(
      () => openIncidents(world),
      (rows) => rows.length === 0,
    )
    await world.close()
  })

  it('keeps in the outbox what a living handler needs, and not what one needs that nobody has seen for long', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    const { database } = world
    const gate = new Gate()
    const reactor = await world.reactor()
    const { heard, handle } = hearing()
    reactor.on('*', (event) => gate.pass().then(() => handle(event)), { name: 'slow' })
    await reactor.startBackground()
    const ids = await world.commit(runs(20))
    await gate.reached
    const count = async () => (await database.query('select from concordat.outbox')).length
    await until(
      () => database.query('select from concordat.outbox where published_at is null'),
      (rows) => rows.length === 0,
    )
    const age = (hours: number) =>
      database.query(`update concordat.relay_batches set published_at = clock_timestamp() - $1 * interval '1 h'`, [
        hours,
      ])
    await age(2)
    expect([await pruneOutbox(database, HOUR_MS), await count()]).toEqual([0, 20])
    gate.open()
    await untilHeard(heard, 20)
    expect(heard.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
    await until(
      () => pruneOutbox(database, HOUR_MS).then(count),
      (left) => left === 0,
    )

    await reactor.stop()
    await world.commit(runs(20))
    await until(
      () => database.query('select from concordat.outbox where published_at is null'),
      (rows) => rows.length === 0,
    )
    await age(2)
    expect(await pruneOutbox(database, HOUR_MS)).toBe(0)
    await database.query(`update concordat.reactor_checkpoints set seen_at = clock_timestamp() - interval '61 min'`)
    expect(await pruneOutbox(database, HOUR_MS)).toBe(20)
    await world.close()
  })

  it('that is gone leaves no open incident behind, whether it was stopped or has died', async () => {
    const world = await ReactorWorld.open(server, transports.postgres!('', ''))
    const { database } = world
    const unhealthy = (process: string) =>
      database.query(
        `insert into concordat.system_incidents (incident_id, component, subject, reason, message)
         values (gen_random_uuid(), 'event reactor', $1, 'REACTOR_UNHEALTHY', 'made up')`,
        [process],
      )
    await Promise.all(['dead', 'stopped', 'alive'].map(unhealthy))
    await database.query(
      `insert into concordat.reactor_members (member_id, reactor_group, process, handlers, expires_at)
       values (gen_random_uuid(), 'concordat', 'dead', '{}', clock_timestamp() - interval '61 min')`,
    )
    const open = async () =>
      (
        await database.query<{ subject: string }>(
          `select subject from concordat.system_incidents where status = 'open'`,
        )
      )
        .map(({ subject }) => subject)
        .toSorted()
    const reactor = await world.reactor({ process: 'stopped', heartbeatIntervalMs: 100 })
    await reactor.startBackground()
    await until(open, (subjects) => subjects.join() === 'alive,stopped')
    await reactor.stop()
    expect(await open()).toEqual(['alive'])
    await world.close()
  })

  describeOnRedis('and', ({ url }) => {
    const once = server.version > 15 ? it : () => {}
    once('gets every event while other keys have the streams’ names, and tells what to do about them', async () => {
      const prefix = `concordat-test-${randomBytes(6).toString('hex')}`
      const streamPrefix = `${prefix}:events:`
      const lines: string[] = []
      const log = createLogger({ level: 'error', destination: { write: (line) => void lines.push(line) } })
      const metrics = createMetrics()
      const world = await ReactorWorld.open(server, () =>
        createBus({ transport: 'redis-streams', url, channel: `${prefix}.events`, streamPrefix, log, metrics }),
      )
      const foreign = await createClient({ url }).connect()
      const keys = Array.from({ length: 16 }, (_, partition) => streamPrefix + partition)
      const copies: string[] = []
      const listener = await createClient({ url }).connect()
      await listener.subscribe(`${prefix}.events`, (message) => void copies.push(message))
      for (const key of keys.slice(0, 8)) await foreign.set(key, 'somebody else’s') // before there is a stream

      const reactor = await world.reactor()
      const { heard, handle, ids } = hearing()
      reactor.on('*', handle, { name: 'all' })
      await reactor.startBackground()
      const committed = await world.commit(runs(100))
      await untilHeard(heard, 100)
      for (const key of keys) await foreign.set(key, 'somebody else’s') // takes the place of what was there
      committed.push(...(await world.commit(runs(100))))
      await untilHeard(heard, 200)
      expect(ids().toSorted()).toEqual(committed.toSorted())
      expect(copies).toHaveLength(200)
      const told = lines.map((line) => JSON.parse(line) as { key: string; remedy: string; msg: string })
      expect(new Set(told.map(({ key }) => key))).toEqual(new Set(keys))
      expect(told[0]?.msg).toContain(`the Redis key ${told[0]?.key} is no stream`)
      expect(told[0]?.remedy).toContain(`redis-cli RENAME ${told[0]?.key} `)
      expect(await metrics.text()).toMatch(/streams_refused_total [1-9]/)

      await foreign.del(keys)
      committed.push(...(await world.commit(runs(100))))
      await untilHeard(heard, 300)
      expect(new Set(ids())).toEqual(new Set(committed))
      expect(new Set(await Promise.all(keys.map((key) => foreign.type(key))))).toEqual(new Set(['stream']))
      await foreign.del(keys)
      foreign.destroy()
      listener.destroy()
      await world.close()
    })

    describe.each([server.version > 15 ? 'redis-pubsub' : 'redis-streams'])('over %s', (transport) => {
      it('beats while it is idle, tells when Redis is away and when it is back, and gets every event', async () => {
        const redis = await startRedis()
        const world = await ReactorWorld.open(server, transports[transport]!(redis.url, 'concordat'))
        const told: Unhealthy[] = []
        const reactor = await world.reactor({
          heartbeatIntervalMs: 200,
          heartbeatMissThreshold: 3,
          onUnhealthy: (unhealthy) => void told.push(unhealthy),
        })
        const { heard, handle, ids } = hearing()
        reactor.on('*', handle, { name: 'all' })
        await reactor.startBackground()
        const beats = async () => Number(/reactor_heartbeats_total (\d+)/.exec(await world.metrics.text())?.[1] ?? 0)
        await until(beats, (count) => count >= 6) // twice as long as it takes to be unhealthy
        expect([told, await openIncidents(world)]).toEqual([[], []])
        const committed = await world.commit(runs(10))
        await untilHeard(heard, 10)

        await redis.stop()
        const [incident] = await until(
          () => openIncidents(world),
          (rows) => rows.length === 1,
        )
        expect(told).toMatchObject([{ misses: 3, cause: `${transport} bus is not connected` }])
        expect(incident).toMatchObject({
          reason: 'REACTOR_UNHEALTHY',
          message: expect.stringContaining('3 heartbeats missed'),
        })
        committed.push(...(await world.commit(runs(10))))

        const restarted = await startRedis({ port: redis.port })
        await until(
          () => openIncidents(world),
          (rows) => rows.length === 0,
        )
        await until(
          () => new Set(ids()).size,
          (count) => count === 20,
        )
        const admin = await createClient({ url: restarted.url }).connect()
        for (let i = 0; i < 5; i++) {
          await admin.flushAll()
          committed.push(...(await world.commit(runs(10))))
        }
        await until(
          () => new Set(ids()).size,
          (count) => count === 70,
        )
        expect(new Set(ids())).toEqual(new Set(committed))
        expect(told).toHaveLength(1)
        admin.destroy()
        await world.close()
        await restarted.stop()
      })
    })
  })
})
