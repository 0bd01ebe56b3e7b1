import { AppError } from '../app-error.ts'
import { withTimeout } from '../backoff.ts'
import type { Logger } from '../log.ts'
import { defineService } from '../service.ts'
import { createFeed, SAFETY_POLL_MS } from './feed.ts'
import { MAILBOX_EVENTS_MAX, Mailbox } from './mailbox.ts'
import type { Bus, FeedOptions } from './port.ts'

const PUBLISH_TIMEOUT_MS = 5_000

/** Within this process. Loses nothing: the publisher waits for a subscriber that is too slow, and in the end fails. */
export function createMemoryBus({ log }: { readonly log: Logger }): Bus {
  const mailboxes = new Set<Mailbox>()
  const feeds = new Set<FeedOptions>()
  const service = defineService('memory bus', {
    start: async () => {},
    stop: async () => {
      await Promise.all([...mailboxes].map((mailbox) => mailbox.close()))
      mailboxes.clear()
      feeds.clear()
    },
  })

  /** Before any of them gets the events, so that a publish that fails has delivered nothing. */
  const room = async () => {
    const full = [...mailboxes].filter((mailbox) => mailbox.full)
    if (full.length === 0) return
    await withTimeout(() => Promise.all(full.map((mailbox) => mailbox.empty())), {
      timeoutMs: PUBLISH_TIMEOUT_MS,
      onTimeout: () =>
        new AppError('BUS_UNREACHABLE', `${full.length} subscribers have ${MAILBOX_EVENTS_MAX} events waiting`, {
          hint: 'Look for a subscriber that is slow or hangs.',
        }),
    })
  }

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
    nudge: () => {},
    publish: async (outgoing) => {
      if (service.state !== 'RUNNING') throw new AppError('BUS_UNREACHABLE', 'The memory bus is not running')
      await room()
      const events = outgoing.map(({ envelope }) => envelope)
      for (const mailbox of mailboxes) mailbox.put(events)
      for (const feed of feeds) feed.hear(events)
    },
    subscribe: async (hear) => {
      const mailbox = new Mailbox(hear, log)
      mailboxes.add(mailbox)
      return {
        close: async () => {
          mailboxes.delete(mailbox)
          await mailbox.close()
        },
      }
    },
    feed: async (options) => {
      feeds.add(options)
      return createFeed(SAFETY_POLL_MS, () => feeds.delete(options), true)
    },
  }
}
