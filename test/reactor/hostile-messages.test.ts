import { randomBytes } from 'node:crypto'
import { createClient, type RedisClientType } from '@redis/client'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { EventEnvelope, envelopesOf, eventTypes } from '../../src/foundation/events/events.ts'
import { createLogger } from '../../src/foundation/log.ts'
import { until } from '../flow/support/until.ts'
import { describeOnPostgres, describeOnRedis } from '../support/servers.ts'
import { hearing, newId, ReactorWorld, transports } from './reactor-world.ts'

const VALID = () => {
  const runId = newId()
  const partition = Number.parseInt(runId.slice(-1), 16)
  return new EventEnvelope({
    id: newId(),
    type: 'run.failed',
    time: '2026-01-01T00:00:00Z',
    runId,
    tenantId: 'default',
    partition,
    position: 1,
    data: { made: 'up' },
  }).toJSON()
}

const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
const strange = fc.oneof(fc.anything(), fc.constantFrom(null, '', -1, 2 ** 53, '1e9', {}, [], 'x'.repeat(2_000)))
/** What somebody may send who means no good, or another version, or a broken network. */
const messages = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.json(),
  fc.nat(300).map((cut) => JSON.stringify(VALID()).slice(0, cut)),
  fc
    .tuple(fc.constantFrom(...Object.keys(VALID())), strange)
    .map(([attribute, value]) => JSON.stringify({ ...VALID(), [attribute]: value })),
  fc
    .constantFrom(3_000, 100_000)
    .map((levels) => JSON.stringify({ ...VALID(), data: 0 }).replace(':0', `:${nested(levels)}`)),
  fc.constantFrom(1_100_000).map((chars) => JSON.stringify({ ...VALID(), data: 'x'.repeat(chars) })),
  fc.constant('{"__proto__":{"specversion":"1.0"},"constructor":1}'),
  fc.nat(1_000_000).map((position) => JSON.stringify({ ...VALID(), position })),
  fc.uuid().map((type) => JSON.stringify({ ...VALID(), type })),
)

const isEvent = (message: string, partition?: number): boolean => {
  try {
    const event = EventEnvelope.parse(message)
    return partition === undefined || event.partition === partition
  } catch {
    return false
  }
}

/** What an entry of a stream may hold, and how much of it is no event. */
const entries = fc.oneof(
  messages.map((message) => ['event', message]),
  fc.tuple(messages, messages).map(([one, two]) => ['event', one, 'event', two]),
  messages.map((message) => ['events', message]),
  messages.map((message) => ['event', message, 'traceparent', '00-1']),
  fc.tuple(fc.string({ unit: 'binary', maxLength: 50 }), messages).map(([name, value]) => [name, value]),
  fc.constant(['x'.repeat(100_000), 'y'.repeat(1_000_000)]),
)
const stored = fc.oneof(
  fc.json(),
  fc.array(strange, { maxLength: 3 }).map((list) => JSON.stringify(list) ?? '[]'),
  fc.constantFrom(3_000, 5_000).map((levels) => `[{"id":"i","type":"t","time":"","data":${nested(levels)}}]`),
  fc.constant(JSON.stringify([{ id: 1, type: 'run.failed', time: '2026-01-01T00:00:00Z' }, null, 'x'.repeat(300_000)])),
)

/** Sends something that means no good; resolves with how much of it is to be counted and kept. */
type Send = (world: ReactorWorld, foreign: RedisClientType, prefix: string) => fc.Arbitrary<() => Promise<number>>

/** Rows of the outbox, which every transport carries. */
const inOutbox: Send = ({ database }) =>
  fc.tuple(stored, fc.integer({ min: 1, max: 3 }), fc.nat(15)).map(([events, count, partition]) => async () => {
    const row = { tenant_id: 'default', run_id: newId(), partition, event_count: count, events }
    const insert = `insert into concordat.outbox (tenant_id, run_id, partition, event_count, events) values ($1, $2, $3, $4, $5)`
    const isStored = await database.query(insert, Object.values(row)).then(
      () => true,
      () => false, // PostgreSQL bounds the nesting of JSON, too
    )
    let malformed = 0
    if (isStored) envelopesOf(row, 1, () => malformed++)
    return malformed
  })

const HOSTILE: Readonly<Record<string, Send>> = {
  'redis-pubsub': (_world, foreign, prefix) =>
    messages.map(asSent).map((message) => async () => {
      await foreign.publish(`${prefix}.events`, message)
      return isEvent(message) ? 0 : 1
    }),
  'redis-streams': (_world, foreign, prefix) =>
    fc.tuple(entries, fc.nat(15)).map(([fields, partition]) => async () => {
      const sent = fields.map(asSent)
      await foreign.sendCommand(['XADD', `${prefix}:events:${partition}`, '*', ...sent])
      if (sent.some((name, i) => i % 2 === 0 && name !== 'event')) return 1
      return sent.filter((message, i) => i % 2 === 1 && !isEvent(message, partition)).length
    }),
  postgres: inOutbox,
  memory: inOutbox,
}

/** Lone surrogates do not travel. */
const asSent = (text: string) => Buffer.from(text).toString()

describeOnPostgres('hostile messages', (server) => {
  describeOnRedis('and', ({ url }) => {
    it.each(server.version > 15 ? ['redis-pubsub', 'postgres'] : ['redis-streams', 'memory'])(
      'on %s crash nothing, are counted, logged and kept, and take no event’s place',
      async (transport) => {
        const prefix = `concordat-test-${randomBytes(6).toString('hex')}`
        const world = await ReactorWorld.open(server, transports[transport]!(url, prefix))
        const lines: string[] = []
        const log = createLogger({ level: 'warn', destination: { write: (line) => void lines.push(line) } })
        const reactor = await world.reactor({ log })
        const { heard, handle } = hearing()
        reactor.on('*', handle, { name: 'all' })
        const beside = await world.reactor({ log }) // meets the same, and keeps none of it
        beside.on('*', () => {}, { name: 'other' })
        await beside.startBackground()
        await reactor.startBackground()
        const [{ now } = { now: '' }] = await world.database.query<{ now: string }>(
          'select clock_timestamp()::text as now',
        )
        await until(
          () =>
            world.database.query<{ know: boolean }>(
              `select bool_and(expires_at > $1::timestamptz + interval '5 s') as know from concordat.reactor_members`,
              [now],
            ),
          ([row]) => row?.know === true,
        ) // of each other
        const foreign: RedisClientType = createClient({ url })
        await foreign.connect()
        let malformed = 0
        const property = fc.asyncProperty(
          fc.array(HOSTILE[transport]!(world, foreign, prefix), { minLength: 20, maxLength: 20, size: 'max' }),
          async (batch) => {
            for (const send of batch) malformed += await send()
          },
        )
        await fc.assert(property, { numRuns: 5, endOnFailure: true }) // a failure prints its seed
        world.relay.nudge()
        const kept = await until(
          () => world.deadLetters(),
          (letters) => letters.length >= malformed,
        )
        const runs = Array.from({ length: 30 }, newId)
        const ids = await world.commit(runs, ['run.created', 'run.started'])
        const ours = () => heard.filter(({ runId }) => runs.includes(runId))
        await until(
          () => ours().length,
          (count) => count >= 60,
        )
        expect(
          ours()
            .map(({ id }) => id)
            .toSorted(),
        ).toEqual(ids.toSorted())
        // What was changed in the outbox is true to us, if it can be read; what was only announced never is.
        if (transport.startsWith('redis')) expect(heard).toHaveLength(60)
        expect(await world.deadLetters()).toHaveLength(malformed)
        expect(
          kept.every(({ handler, runId, envelope }) => handler === null && runId === null && envelope.length <= 4_096),
        ).toBe(true)
        const metrics = await world.metrics.text()
        expect(metrics).toContain(`concordat_events_malformed_total ${malformed}\n`)
        const told = lines.filter((line) => JSON.parse(line).msg === 'A message is no event')
        expect(told).toHaveLength(malformed)
        expect(told.filter((line) => JSON.parse(line).message.length > 200)).toEqual([])
        const labels = [...metrics.matchAll(/events_received_total\{type="(.*?)"\}/g)].map(([, type]) => type)
        expect(labels.filter((type = '') => type !== 'other' && !Object.hasOwn(eventTypes, type))).toEqual([])
        expect(reactor.state).toBe('RUNNING')
        foreign.destroy()
        await world.close()
      },
    )

    if (server.version > 15) return
    it('that come all at once are kept, each of them', async () => {
      const prefix = `concordat-test-${randomBytes(6).toString('hex')}`
      const world = await ReactorWorld.open(server, transports['redis-streams']!(url, prefix))
      const reactor = await world.reactor()
      reactor.on('*', () => {}, { name: 'all' })
      await reactor.startBackground()
      const foreign: RedisClientType = createClient({ url })
      await foreign.connect()
      const sent = Array.from({ length: 3_000 }, (_, i) => `no event ${i}`)
      await foreign.sendCommand(['XADD', `${prefix}:events:0`, '*', ...sent.flatMap((message) => ['event', message])])
      await until(
        async () => (await world.deadLetters()).length,
        (count) => count >= sent.length,
      )
      expect((await world.deadLetters()).map(({ envelope }) => envelope)).toEqual(sent)
      foreign.destroy()
      await world.close()
    })
  })
})
