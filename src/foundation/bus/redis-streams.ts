import type { Logger } from '../log.ts'
import { defineService } from '../service.ts'
import type { Bus } from './port.ts'
import { callsOf } from './redis-calls.ts'
import { RedisLink } from './redis-link.ts'
import { RedisListener, waitForLink } from './redis-listener.ts'
import { CHANNEL } from './redis-pubsub.ts'
import { StreamReader } from './stream-reader.ts'

const STREAM_PREFIX = 'concordat:events:'
/** Some MB a stream at the usual size; who is further behind reads the outbox. */
const STREAM_ENTRIES_MAX = 10_000

/** A batch is one call: all of it or none is published, in order. The channel has a copy for plain subscribers. */
const ADD_ALL = `for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[2] .. ARGV[i], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[i + 1])
  redis.call('PUBLISH', KEYS[1], ARGV[i + 1])
end`

export interface RedisStreamsOptions {
  readonly url: string
  readonly channel?: string
  /** Begins the streams' keys; a partition's number ends them. */
  readonly streamPrefix?: string
  readonly log: Logger
}

/**
 * Redis streams, `concordat:events:0` to `concordat:events:15`, with a consumer group for each group of reactors, and a
 * copy on channel `concordat.events` for subscribers of any kind. Streams are trimmed by length.
 */
export function createRedisStreamsBus(options: RedisStreamsOptions): Bus {
  const { url, channel = CHANNEL, streamPrefix = STREAM_PREFIX, log } = options
  const publisher = new RedisLink({ url, log })
  const listener = new RedisListener({ url, channel, log })
  const readers = new Set<StreamReader>()
  const service = defineService('redis-streams bus', {
    start: () => waitForLink(publisher, log),
    stop: async () => {
      await Promise.all([...readers].map((reader) => reader.close()))
      publisher.close()
      await listener.close()
    },
  })
  return {
    name: service.name,
    get state() {
      return service.state
    },
    get healthy() {
      return publisher.isReady && listener.isReady && [...readers].every((reader) => reader.isReady)
    },
    losses: listener.losses,
    start: service.start,
    stop: service.stop,
    nudge: () => {},
    publish: async (events) => {
      for (const messages of callsOf(events)) {
        const args = messages.flatMap(({ partition, text }) => [String(partition), text])
        await publisher.call((client) =>
          client.eval(ADD_ALL, { keys: [channel, streamPrefix], arguments: [String(STREAM_ENTRIES_MAX), ...args] }),
        )
      }
    },
    subscribe: (hear) => listener.add(hear),
    feed: async (feed) => {
      const reader = new StreamReader({ url, log, streamPrefix, feed, onClose: () => readers.delete(reader) })
      readers.add(reader)
      await reader.open()
      return reader
    },
  }
}
