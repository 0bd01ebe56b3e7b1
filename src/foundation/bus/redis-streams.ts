import { limits } from '../../limits.ts'
import type { Logger } from '../log.ts'
import { type Metrics, noMetrics } from '../metrics.ts'
import { defineService } from '../service.ts'
import type { Bus } from './port.ts'
import { callsOf, type Message } from './redis-calls.ts'
import { RedisLink } from './redis-link.ts'
import { RedisListener, waitForLink } from './redis-listener.ts'
import { CHANNEL } from './redis-pubsub.ts'
import { foreignKeyRemedy, StreamFaults } from './stream-faults.ts'
import { StreamReader } from './stream-reader.ts'

const STREAM_PREFIX = 'concordat:events:'
/** Some MB a stream at the usual size; who is further behind reads the outbox. */
const STREAM_ENTRIES_MAX = 2_000
/** What comes together shares an entry: each costs its reader and Redis more than the events in it. */
const ENTRY_EVENTS_MAX = 10

/**
 * A batch is one call: all of it or none is published, in order. Entries come as their partition, how many events they
 * have, and these. The channel has a copy for plain subscribers. A stream that can't be written holds up neither the
 * others nor the channel: partition and refusal are returned, and readers take its events from the outbox.
 */
const ADD_ALL = `local i = 2
local refused = {}
while i < #ARGV do
  local last = i + 1 + ARGV[i + 1]
  local fields = {}
  for event = i + 2, last do
    fields[#fields + 1] = 'event'
    fields[#fields + 1] = ARGV[event]
    redis.call('PUBLISH', KEYS[1], ARGV[event])
  end
  local added = redis.pcall('XADD', KEYS[2] .. ARGV[i], 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
  if type(added) == 'table' and added.err then
    refused[#refused + 1] = ARGV[i]
    refused[#refused + 1] = added.err
  end
  i = last + 1
end
return refused`

export interface RedisStreamsOptions {
  readonly url: string
  readonly channel?: string
  /** Begins the streams' keys; a partition's number ends them. */
  readonly streamPrefix?: string
  readonly log: Logger
  readonly metrics?: Metrics
}

/**
 * Redis streams, `concordat:events:0` to `concordat:events:15`, with a consumer group for each group of reactors, and a
 * copy on channel `concordat.events` for subscribers of any kind. An entry has 1 to 10 fields `event`, each with the
 * CloudEvents JSON of one. Streams are trimmed by length.
 */
export function createRedisStreamsBus(options: RedisStreamsOptions): Bus {
  const { url, channel = CHANNEL, streamPrefix = STREAM_PREFIX, log, metrics = noMetrics } = options
  const publisher = new RedisLink({ url, log })
  const listener = new RedisListener({ url, channel, log })
  const readers = new Set<StreamReader>()
  const faults = new StreamFaults(log, metrics)
  const tellRefused = (refused: readonly string[]) => {
    for (let i = 0; i < refused.length; i += 2) faults.tell(streamPrefix + refused[i], String(refused[i + 1]))
  }
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
        const args = entriesOf(messages).flatMap(({ partition, texts }) => [
          String(partition),
          String(texts.length),
          ...texts,
        ])
        const refused = await publisher.call((client) =>
          client.eval(ADD_ALL, { keys: [channel, streamPrefix], arguments: [String(STREAM_ENTRIES_MAX), ...args] }),
        )
        tellRefused(refused as string[])
      }
    },
    subscribe: (hear) => listener.add(hear),
    feed: async (feed) => {
      const reader = new StreamReader({ url, log, faults, streamPrefix, feed, onClose: () => readers.delete(reader) })
      readers.add(reader)
      await reader.open()
      return reader
    },
  }
}

interface Entry {
  readonly partition: number
  readonly texts: string[]
}

/** Neighbours of one partition share an entry; the order of all events stays. */
function entriesOf(messages: readonly Message[]): Entry[] {
  const entries: Entry[] = []
  for (const { partition, text } of messages) {
    const last = entries.at(-1)
    if (last?.partition === partition && last.texts.length < ENTRY_EVENTS_MAX) last.texts.push(text)
    else entries.push({ partition, texts: [text] })
  }
  return entries
}

/** Keys under the streams' names that are no streams, each with what to do about it. Fails with `BUS_UNREACHABLE`. */
export async function foreignKeys(url: string, log: Logger): Promise<{ key: string; type: string; remedy: string }[]> {
  const link = new RedisLink({ url, log })
  try {
    await waitForLink(link, log)
    const keys = Array.from({ length: limits.partitions }, (_, partition) => STREAM_PREFIX + partition)
    const found = await link.call((client) =>
      Promise.all(keys.map(async (key) => ({ key, type: await client.type(key), remedy: foreignKeyRemedy(key) }))),
    )
    return found.filter(({ type }) => type !== 'stream' && type !== 'none')
  } finally {
    link.close()
  }
}
