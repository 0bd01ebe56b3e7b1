import { expect, it } from 'vitest'
import { createBus } from '../../src/foundation/bus/bus.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { describeOnPostgres, describeOnRedis, startRedis } from '../support/servers.ts'
import { newId, OutboxWorld } from './outbox-world.ts'

describeOnPostgres('the relay over Redis', (server) => {
  describeOnRedis('that restarts', () => {
    it('keeps events in the outbox meanwhile, and goes on by itself', async () => {
      const world = await OutboxWorld.onPostgres(server)
      const redis = await startRedis()
      const open = () => createBus({ transport: 'redis-pubsub', url: redis.url, log: silentLogger })
      const [publisher, subscriber] = await Promise.all([open(), open()])
      await Promise.all([publisher.start(), subscriber.start()])
      await subscriber.subscribe((event) => void world.delivered.push(event))
      const relay = await world.startRelay(undefined, { bus: publisher })
      const some = Array.from({ length: 30 }, newId)

      for (let i = 0; i < 5; i++) await world.commit(some)
      await world.untilPublished()
      await expect.poll(() => world.delivered.length).toBe(300)
      await world.expectPromisesKept()

      await redis.stop()
      await world.commit(some)
      await relay.stop() // gives up to publish it
      expect(await world.unpublished()).toBe(30)

      const restarted = await startRedis({ port: redis.port })
      await expect.poll(() => publisher.healthy && subscriber.healthy).toBe(true)
      await relay.start()
      await world.commit(some)
      await world.untilPublished()
      await expect.poll(() => world.delivered.length).toBe(420)
      await world.expectPromisesKept()

      await world.close()
      await Promise.all([publisher.stop(), subscriber.stop()])
      await restarted.stop()
    })

    it('publishes what waited as soon as Redis is back', async () => {
      const world = await OutboxWorld.onPostgres(server)
      const redis = await startRedis()
      const bus = await createBus({ transport: 'redis-pubsub', url: redis.url, log: silentLogger })
      await bus.start()
      await world.startRelay(undefined, { bus })
      await redis.stop()
      await world.commit(Array.from({ length: 30 }, newId))
      await expect.poll(() => bus.healthy).toBe(false)
      const restarted = await startRedis({ port: redis.port })
      await world.untilPublished()
      await world.close()
      await bus.stop()
      await restarted.stop()
    })
  })
})
