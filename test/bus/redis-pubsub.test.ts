import { randomBytes } from 'node:crypto'
import { createClient } from '@redis/client'
import { expect, it } from 'vitest'
import { type Bus, createBus } from '../../src/foundation/bus/bus.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { describeOnRedis, startRedis } from '../support/servers.ts'
import { describeBus } from './bus-suite.ts'
import { eventSource, newId } from './sample-events.ts'

const newChannel = () => `concordat-test-${randomBytes(6).toString('hex')}`

describeOnRedis('on', ({ url }) => {
  const open = (channel: string): Promise<Bus> =>
    createBus({ transport: 'redis-pubsub', url, channel, log: silentLogger })

  describeBus('redis-pubsub', async () => {
    const channel = newChannel()
    return { open: () => open(channel), publish: (bus, events) => bus.publish(events), close: async () => {} }
  })

  it('counts messages that are no events, and goes on', async () => {
    const channel = newChannel()
    const bus = await open(channel)
    await bus.start()
    const heard: string[] = []
    await bus.subscribe((event) => void heard.push(event.id))
    const foreign = await createClient({ url }).connect()
    for (const message of ['', 'hello', '{"specversion":"1.0"}', '['.repeat(1_000_000)]) {
      await foreign.publish(channel, message)
    }
    foreign.destroy()
    const event = eventSource()(newId())
    await bus.publish([event])
    await expect.poll(() => heard).toEqual([event.id])
    expect(bus.losses).toEqual({ malformed: 4, dropped: 0 })
    await bus.stop()
  })

  it('lets any subscriber read CloudEvents', async () => {
    const channel = newChannel()
    const bus = await open(channel)
    await bus.start()
    const messages: string[] = []
    const foreign = await createClient({ url }).connect()
    await foreign.subscribe(channel, (message) => messages.push(message))
    const event = eventSource()(newId(), { agent: 'triage' })
    await bus.publish([event])
    await expect
      .poll(() => messages.map((message) => JSON.parse(message)))
      .toEqual([
        {
          specversion: '1.0',
          id: event.id,
          source: '/concordat',
          type: 'run.created',
          time: event.time,
          subject: event.runId,
          tenantid: 'default',
          partition: event.partition,
          position: '1',
          data: { agent: 'triage' },
        },
      ])
    foreign.destroy()
    await bus.stop()
  })

  it('survives a restart of Redis: refuses events at once while it is away, then delivers again', async () => {
    let redis = await startRedis()
    const bus = await createBus({ transport: 'redis-pubsub', url: redis.url, log: silentLogger })
    await bus.start()
    const heard: string[] = []
    await bus.subscribe((event) => void heard.push(event.id))
    const make = eventSource()
    const before = make(newId())
    await bus.publish([before])
    await expect.poll(() => heard).toEqual([before.id])

    await redis.stop()
    await expect.poll(() => bus.healthy).toBe(false)
    const startedMs = performance.now()
    await expect(bus.publish([make(newId())])).rejects.toMatchObject({ code: 'BUS_UNREACHABLE', kind: 'retryable' })
    expect(performance.now() - startedMs).toBeLessThan(1_000)

    redis = await startRedis({ port: redis.port })
    await expect.poll(() => bus.healthy).toBe(true)
    const after = make(newId())
    await bus.publish([after])
    await expect.poll(() => heard).toEqual([before.id, after.id])
    await bus.stop()
    await redis.stop()
  })

  it('gives up on a Redis that is connected and silent after 5 s, and comes back by itself', async () => {
    const redis = await startRedis()
    const bus = await createBus({ transport: 'redis-pubsub', url: redis.url, log: silentLogger })
    await bus.start()
    const admin = await createClient({ url: redis.url }).connect()
    await admin.sendCommand(['CLIENT', 'PAUSE', '6000', 'ALL'])
    await expect(bus.publish([eventSource()(newId())])).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' })
    expect(bus.healthy).toBe(false)
    await expect.poll(() => bus.healthy).toBe(true)
    await bus.publish([eventSource()(newId())])
    admin.destroy()
    await bus.stop()
    await redis.stop()
  })

  it('starts without Redis, and works as soon as it is there', async () => {
    const port = await startRedis().then(async (redis) => {
      await redis.stop()
      return redis.port
    })
    const bus = await createBus({ transport: 'redis-pubsub', url: `redis://127.0.0.1:${port}`, log: silentLogger })
    await bus.start()
    expect(bus.healthy).toBe(false)
    await expect(bus.publish([eventSource()(newId())])).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' })
    const redis = await startRedis({ port })
    await expect.poll(() => bus.healthy).toBe(true)
    await bus.publish([eventSource()(newId())])
    await bus.stop()
    await redis.stop()
  })
})
