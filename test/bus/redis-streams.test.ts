import { randomBytes } from 'node:crypto'
import { createClient } from '@redis/client'
import { expect, it } from 'vitest'
import { type Bus, createBus, type Feed, type FeedOptions } from '../../src/foundation/bus/bus.ts'
import type { EventEnvelope } from '../../src/foundation/events/events.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { limits } from '../../src/limits.ts'
import { until } from '../flow/support/until.ts'
import { describeOnRedis, startRedis } from '../support/servers.ts'
import { describeBus } from './bus-suite.ts'
import { eventSource, newId } from './sample-events.ts'

const newPrefix = () => `concordat-test-${randomBytes(6).toString('hex')}`
const all = new Set(Array.from({ length: limits.partitions }, (_, partition) => partition))

/** A reader that keeps what it gets. */
function reader() {
  const heard: EventEnvelope[] = []
  const malformed: string[] = []
  const options: FeedOptions = {
    reader: newId(),
    hear: (events) => void heard.push(...events),
    malformed: (message) => void malformed.push(message),
    look: () => {},
  }
  return { heard, malformed, options }
}

describeOnRedis('on', ({ url }) => {
  const open = (prefix: string, at = url): Promise<Bus> =>
    createBus({
      transport: 'redis-streams',
      url: at,
      channel: `${prefix}.events`,
      streamPrefix: `${prefix}:events:`,
      log: silentLogger,
    })

  describeBus('redis-streams', async () => {
    const prefix = newPrefix()
    return { open: () => open(prefix), publish: (bus, events) => bus.publish(events), close: async () => {} }
  })

  async function arena() {
    const prefix = newPrefix()
    const bus = await open(prefix)
    await bus.start()
    const admin = await createClient({ url }).connect()
    const pending = async (partition: number) => {
      const [count] = (await admin.sendCommand(['XPENDING', `${prefix}:events:${partition}`, 'g'])) as [number]
      return count
    }
    const close = async () => {
      await bus.stop()
      admin.destroy()
    }
    return { prefix, bus, admin, pending, close }
  }
  const feeding = async (bus: Bus, options: FeedOptions, partitions: ReadonlySet<number> = all): Promise<Feed> => {
    const feed = await bus.feed(options)
    feed.want(partitions, 'g')
    return feed
  }

  it('keeps an entry pending until all its events are dealt with', async () => {
    const { bus, pending, close } = await arena()
    const { heard, options } = reader()
    const feed = await feeding(bus, options)
    const runId = newId()
    const make = eventSource()
    const events = [make(runId), make(runId), make(runId)]
    const { partition = 0 } = events[0] ?? {}
    await bus.publish(events.slice(0, 2))
    await bus.publish(events.slice(2))
    await until(
      () => heard.length,
      (count) => count === 3,
    )
    expect(await pending(partition)).toBe(2)
    feed.handled(partition, 1)
    feed.handled(partition, 2)
    await until(
      () => pending(partition),
      (count) => count === 1,
    )
    feed.handled(partition, 3)
    await until(
      () => pending(partition),
      (count) => count === 0,
    )
    await close()
  })

  it('puts at most ten neighbours of a partition into an entry, and keeps the order', async () => {
    const { prefix, bus, admin, close } = await arena()
    const { heard, options } = reader()
    await feeding(bus, options)
    const make = eventSource()
    const [one, other] = [newId(), newId()]
    const events = [...Array.from({ length: 12 }, () => make(one)), make(other), make(one)]
    await bus.publish(events)
    await until(
      () => heard.length,
      (count) => count === events.length,
    )
    const { partition = 0 } = events[0] ?? {}
    const own = events.filter((event) => event.partition === partition)
    expect(heard.filter((event) => event.partition === partition)).toEqual(own)
    const shared = partition === events[12]?.partition // by chance
    expect(await admin.sendCommand(['XLEN', `${prefix}:events:${partition}`])).toBe(shared ? 2 : 3)
    await close()
  })

  it('hands what a reader left behind to the next one of its group, and forgets no consumer that has entries', async () => {
    const { prefix, bus, admin, pending, close } = await arena()
    const [dead, next] = [reader(), reader()]
    const first = await feeding(bus, dead.options)
    const runId = newId()
    const event = eventSource()(runId)
    await bus.publish([event])
    await until(
      () => dead.heard.length,
      (count) => count === 1,
    )
    await first.close()
    expect(await pending(event.partition)).toBe(1)

    const second = await feeding(bus, next.options)
    await until(
      () => next.heard.map(({ id }) => id).join(),
      (ids) => ids === event.id,
    )
    second.handled(event.partition, event.position)
    await until(
      () => pending(event.partition),
      (count) => count === 0,
    )
    await second.close()
    const consumers = (await admin.sendCommand([
      'XINFO',
      'CONSUMERS',
      `${prefix}:events:${event.partition}`,
      'g',
    ])) as unknown[]
    expect(consumers).toHaveLength(1) // the one that left nothing is forgotten
    await close()
  })

  it('tells of poison once, and reads on', async () => {
    const { prefix, bus, admin, pending, close } = await arena()
    const { heard, malformed, options } = reader()
    await feeding(bus, options)
    const event = eventSource()(newId())
    const stream = `${prefix}:events:${event.partition}`
    await admin.sendCommand(['XADD', stream, '*', 'garbage', 'in'])
    await admin.sendCommand(['XADD', stream, '*', 'event', '{"specversion":"1.0"'])
    await bus.publish([event])
    await until(
      () => heard.length,
      (count) => count === 1,
    )
    expect(malformed).toEqual(['["garbage","in"]', '{"specversion":"1.0"'])
    await until(
      () => pending(event.partition),
      (count) => count === 1,
    )
    await close()
  })

  it('reads on after FLUSHALL and after a restart', async () => {
    let redis = await startRedis()
    const bus = await open('concordat', redis.url)
    await bus.start()
    const { heard, options } = reader()
    await feeding(bus, options)
    const make = eventSource()
    await bus.publish([make(newId())])
    await until(
      () => heard.length,
      (count) => count === 1,
    )

    const admin = await createClient({ url: redis.url }).connect()
    await admin.flushAll()
    admin.destroy()
    await bus.publish([make(newId())])
    await until(
      () => heard.length,
      (count) => count === 2,
    )

    await redis.stop()
    redis = await startRedis({ port: redis.port })
    await until(() => bus.healthy, Boolean)
    await bus.publish([make(newId())])
    await until(
      () => heard.length,
      (count) => count === 3,
    )
    await bus.stop()
    await redis.stop()
  })
})
