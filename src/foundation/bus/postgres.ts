import { type Positions, positionsNow, readPublished } from '../events/events.ts'
import type { Logger } from '../log.ts'
import { createTicker, defineService, type Ticker } from '../service.ts'
import type { Database } from '../storage/storage.ts'
import { createFeed } from './feed.ts'
import { hearSafely } from './mailbox.ts'
import type { Bus, FeedOptions, Hear } from './port.ts'

/** How late an event from another process is at the most; one of this process comes with the nudge. */
const POLL_MS = 100
/** Outbox rows of each partition that are read at once. */
const PAGE_ROWS_MAX = 50

export interface PostgresBusOptions {
  readonly database: Database
  readonly log: Logger
}

/** The outbox itself is the transport: subscribers read what the relay has marked, at their own pace. Drops nothing. */
export function createPostgresBus({ database, log }: PostgresBusOptions): Bus {
  const readers = new Set<Ticker>()
  const feeds = new Set<FeedOptions>()
  const service = defineService('postgres bus', {
    start: async () => {},
    stop: async () => {
      await Promise.all([...readers].map((reader) => reader.stop()))
      readers.clear()
      feeds.clear()
    },
  })
  return {
    name: service.name,
    get state() {
      return service.state
    },
    get healthy() {
      return service.state === 'RUNNING'
    },
    losses: { malformed: 0, dropped: 0 },
    start: service.start,
    stop: service.stop,
    publish: async () => {},
    nudge: () => {
      for (const reader of readers) reader.nudge()
      for (const feed of feeds) feed.look()
    },
    subscribe: async (hear, { after } = {}) => {
      const reader = createReader({ database, log }, hear, after ?? (await positionsNow(database)))
      readers.add(reader)
      await reader.start()
      return {
        close: async () => {
          readers.delete(reader)
          await reader.stop()
        },
      }
    },
    feed: async (options) => {
      feeds.add(options)
      return createFeed(POLL_MS, () => feeds.delete(options))
    },
  }
}

function createReader({ database, log }: PostgresBusOptions, hear: Hear, after: Positions): Ticker {
  const positions = new Map(after)
  return createTicker({
    name: 'outbox reader',
    intervalMs: POLL_MS,
    tick: async (signal) => {
      for (;;) {
        const events = await readPublished(database, positions, PAGE_ROWS_MAX)
        if (events.length === 0) return
        for (const event of events) {
          if (signal.aborted) return
          await hearSafely(hear, event, log)
          positions.set(event.partition, event.position)
        }
      }
    },
    onError: (error) => log.warn({ error }, 'The outbox could not be read, trying again'),
  })
}
