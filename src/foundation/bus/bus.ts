import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Database } from '../storage/storage.ts'
import { createMemoryBus } from './memory.ts'
import type { Bus } from './port.ts'
import { createPostgresBus } from './postgres.ts'

export type { Bus, BusLosses, Feed, FeedOptions, Hear, SubscribeOptions, Subscription } from './port.ts'

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

/** The transport by its name. Those over Redis are loaded here: their client takes longer than all else of a command. */
export async function createBus(options: BusOptions): Promise<Bus> {
  switch (options.transport) {
    case 'memory':
      return createMemoryBus(options)
    case 'postgres':
      return createPostgresBus(options)
    case 'redis-pubsub':
      return (await import('./redis-pubsub.ts')).createRedisPubSubBus(options)
    case 'redis-streams':
      return (await import('./redis-streams.ts')).createRedisStreamsBus(options)
  }
}

/** Keys under the streams' names that are no streams, each with what to do about it. Fails with `BUS_UNREACHABLE`. */
export async function foreignKeys(url: string, log: Logger): Promise<{ key: string; type: string; remedy: string }[]> {
  return (await import('./redis-streams.ts')).foreignKeys(url, log)
}
