import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Database } from '../storage/storage.ts'
import { createMemoryBus } from './memory.ts'
import type { Bus } from './port.ts'
import { createPostgresBus } from './postgres.ts'
import { createRedisPubSubBus } from './redis-pubsub.ts'
import { createRedisStreamsBus } from './redis-streams.ts'

export type { Bus, BusLosses, Feed, FeedOptions, Hear, SubscribeOptions, Subscription } from './port.ts'
export { foreignKeys } from './redis-streams.ts'

export type BusOptions = { readonly log: Logger } & (
  | { readonly transport: 'memory' }
  | { readonly transport: 'postgres'; readonly database: Database }
  | { readonly transport: 'redis-pubsub'; readonly url: string; readonly channel?: string }
  | {
      readonly transport: 'redis-streams'
      readonly url: string
      readonly channel?: string
      readonly streamPrefix?: string
      readonly metrics?: Metrics
    }
)

/** The transport by its name. */
export function createBus(options: BusOptions): Bus {
  switch (options.transport) {
    case 'memory':
      return createMemoryBus(options)
    case 'postgres':
      return createPostgresBus(options)
    case 'redis-pubsub':
      return createRedisPubSubBus(options)
    case 'redis-streams':
      return createRedisStreamsBus(options)
  }
}
