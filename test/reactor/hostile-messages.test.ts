import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { createClient } from 'redis'
import { expect, it } from 'vitest'
import { EventEnvelope } from '../../src/foundation/events/events.ts'
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
)

const isEvent = (message: string): boolean => {
  try {
    EventEnvelope.parse(message)
    return true
  } catch {
    return false
  }
}

describeOnPostgres('hostile messages', (server) => {
  describeOnRedis('and', ({ url }) => {
    it.each([server.version > 15 ? 'redis-pubsub' : 'redis-streams'])(
      'on %s crash nothing, are counted and kept, and take no event’s place',
      { timeout: 60_000 },
      async (transport) => {
        const prefix = `concordat-test-${randomBytes(6).toString('hex')}`
        const world = await ReactorWorld.open(server, transports[transport]!(url, prefix))
        const reactor = await world.reactor()
        const { heard, handle } = hearing()
        reactor.on('*', handle, { name: 'all' })
        await reactor.startBackground()
        const foreign = await createClient({ url }).connect()
        const send = async (message: string) => {
          if (transport === 'redis-pubsub') await foreign.publish(`${prefix}.events`, message)
          else await foreign.sendCommand(['XADD', `${prefix}:events:${message.length % 16}`, '*', 'event', message])
        }
        let malformed = 0
        const property = fc.asyncProperty(
          fc.array(messages, { minLength: 20, maxLength: 20, size: 'max' }),
          async (batch) => {
            for (const message of batch) {
              const sent = Buffer.from(message).toString() // lone surrogates do not travel
              await send(sent)
              if (!isEvent(sent)) malformed++
            }
          },
        )
        await fc.assert(property, { numRuns: 5, endOnFailure: true }) // a failure prints its seed
        // Behind all others, in every stream: what came before has been looked at when these are kept.
        for (let i = 0; i < 16; i++) await send('x'.repeat(i + 1))
        malformed += 16
        await until(
          async () => (await world.deadLetters()).length,
          (letters) => letters >= malformed,
        )
        const kept = await world.deadLetters()
        const runs = Array.from({ length: 30 }, newId)
        const ids = await world.commit(runs, ['run.created', 'run.started'])
        await until(
          () => heard.length,
          (count) => count >= 60,
        )
        expect(heard.filter(({ id }) => !ids.includes(id)).map((event) => JSON.stringify(event))).toEqual([])
        expect(heard.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
        expect(kept).toHaveLength(malformed)
        expect(
          kept.every(({ handler, runId, envelope }) => handler === null && runId === null && envelope.length <= 4_096),
        ).toBe(true)
        expect(await world.metrics.text()).toContain(`concordat_events_malformed_total ${malformed}\n`)
        expect(reactor.state).toBe('RUNNING')
        foreign.destroy()
        await world.close()
      },
    )
  })
})
