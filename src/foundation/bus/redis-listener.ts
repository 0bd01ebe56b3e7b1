import { withTimeout } from '../backoff.ts'
import { EventEnvelope } from '../events/events.ts'
import type { Logger } from '../log.ts'
import { createFeed, SAFETY_POLL_MS } from './feed.ts'
import { Mailbox } from './mailbox.ts'
import type { Feed, FeedOptions, Hear, Subscription } from './port.ts'
import { RedisLink, unreachable } from './redis-link.ts'

/** Nobody waits longer for a Redis that is away: its absence delays events and nothing else. */
const OPEN_WAIT_MS = 2_000
const LOGGED_CHARS_MAX = 200

/**
 * The subscribers of this process on one connection. It is open only while there are any: otherwise this process would
 * receive, and throw away, all that it publishes itself.
 */
export class RedisListener {
  readonly losses = { malformed: 0, dropped: 0 }
  readonly #mailboxes = new Set<Mailbox>()
  readonly #feeds = new Set<FeedOptions>()
  #gathered: EventEnvelope[] = []
  readonly #link: RedisLink
  readonly #log: Logger
  #opened: Promise<void> | undefined

  constructor({ url, channel, log }: { readonly url: string; readonly channel: string; readonly log: Logger }) {
    this.#log = log
    this.#link = new RedisLink({
      url,
      log,
      onReady: async (client) => {
        // After a reconnect node-redis has already repeated the subscription.
        if (!client.isPubSubActive) await client.subscribe(channel, (message) => this.#receive(message))
      },
    })
  }

  /** Whether all subscribers hear what is published now. */
  get isReady(): boolean {
    return this.#isAlone || this.#link.isReady
  }

  async add(hear: Hear): Promise<Subscription> {
    const mailbox = new Mailbox(hear, this.#log)
    this.#mailboxes.add(mailbox)
    this.#opened ??= waitForLink(this.#link, this.#log)
    await this.#opened
    return {
      close: async () => {
        this.#mailboxes.delete(mailbox)
        if (this.#isAlone) this.#closeLink()
        await mailbox.close()
      },
    }
  }

  async close(): Promise<void> {
    this.#closeLink()
    await Promise.all([...this.#mailboxes].map((mailbox) => mailbox.close()))
    this.#mailboxes.clear()
    this.#feeds.clear()
  }

  async feed(options: FeedOptions): Promise<Feed> {
    this.#feeds.add(options)
    this.#opened ??= waitForLink(this.#link, this.#log)
    await this.#opened
    return createFeed(SAFETY_POLL_MS, () => {
      this.#feeds.delete(options)
      if (this.#isAlone) this.#closeLink()
    })
  }

  get #isAlone(): boolean {
    return this.#mailboxes.size === 0 && this.#feeds.size === 0
  }

  #closeLink(): void {
    this.#link.close()
    this.#opened = undefined
  }

  /** Never throws: node-redis would end the process. */
  #receive(message: string): void {
    let event: EventEnvelope
    try {
      event = EventEnvelope.parse(message)
    } catch (error) {
      this.losses.malformed++
      // A reactor logs it itself, once for all of its group.
      if (this.#feeds.size === 0) {
        this.#log.warn({ error, message: message.slice(0, LOGGED_CHARS_MAX) }, 'A message is no event')
      }
      for (const feed of this.#feeds) feed.malformed(message, error, 'all')
      return
    }
    if (this.#feeds.size > 0) this.#gather(event)
    for (const mailbox of this.#mailboxes) {
      if (!mailbox.full) mailbox.put([event])
      else if (this.losses.dropped++ % 1_000 === 0) {
        this.#log.warn({ dropped: this.losses.dropped }, 'A subscriber is too slow, events are dropped')
      }
    }
  }

  /** What comes in one piece from the network is handed on in one piece. */
  #gather(event: EventEnvelope): void {
    if (this.#gathered.push(event) > 1) return
    queueMicrotask(() => {
      const events = this.#gathered
      this.#gathered = []
      for (const feed of this.#feeds) feed.hear(events)
    })
  }
}

/** Opens the link, and goes on without it when Redis is away: it comes later then. */
export async function waitForLink(link: RedisLink, log: Logger): Promise<void> {
  const opened = link.open()
  const options = { timeoutMs: OPEN_WAIT_MS, onTimeout: () => unreachable('does not answer') }
  await withTimeout(() => opened, options).catch((error: Error) =>
    log.warn({ error: error.message }, 'Going on without Redis: events are late until it is back'),
  )
}
