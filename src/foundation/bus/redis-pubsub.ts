import { TimeoutError } from 'redis'
import { AppError } from '../app-error.ts'
import { withTimeout } from '../backoff.ts'
import { EventEnvelope } from '../events/events.ts'
import type { Logger } from '../log.ts'
import { defineService } from '../service.ts'
import { Mailbox } from './mailbox.ts'
import type { Bus, BusLosses } from './port.ts'
import { RedisLink } from './redis-link.ts'

const CHANNEL = 'concordat.events'
/** Nobody waits longer for a Redis that is away: its absence delays events and nothing else. */
const OPEN_WAIT_MS = 2_000
/** Redis runs a script without interruption: a few MB at a time keep it responsive. */
const CALL_CHARS_MAX = 2_097_152
const LOGGED_CHARS_MAX = 200

/*
 * A batch is one call: all of it or none is published, in order, and it costs a third of the CPU of a PUBLISH each
 * (measured: 2 against 6 µs an event in this process).
 */
const PUBLISH_ALL = `for i = 1, #ARGV do redis.call('PUBLISH', KEYS[1], ARGV[i]) end`

export interface RedisPubSubOptions {
  readonly url: string
  readonly channel?: string
  readonly log: Logger
}

/**
 * Redis pub/sub, CloudEvents JSON on channel `concordat.events`, for our own subscribers and any others. It keeps
 * nothing: who is not connected, or too slow, misses events, and sees it by the gap in the positions.
 */
export function createRedisPubSubBus({ url, channel = CHANNEL, log }: RedisPubSubOptions): Bus {
  const losses = { malformed: 0, dropped: 0 }
  const mailboxes = new Set<Mailbox>()
  const receive = (message: string) => receiveMessage(message, { mailboxes, losses, log })
  const publisher = new RedisLink({ url, log })
  const listener = new RedisLink({
    url,
    log,
    // After a reconnect node-redis has already repeated the subscription.
    onReady: async (client) => (client.isPubSubActive ? undefined : client.subscribe(channel, receive)),
  })

  let listening: Promise<void> | undefined
  /** Only while somebody listens: otherwise this process would receive, and throw away, all that it publishes. */
  const listen = () => {
    listening ??= patiently(listener.open(), log)
    return listening
  }
  const unlisten = () => {
    listener.close()
    listening = undefined
  }

  const service = defineService('redis-pubsub bus', {
    start: () => patiently(publisher.open(), log),
    stop: async () => {
      publisher.close()
      unlisten()
      await Promise.all([...mailboxes].map((mailbox) => mailbox.close()))
      mailboxes.clear()
    },
  })

  return {
    name: service.name,
    get state() {
      return service.state
    },
    get healthy() {
      return publisher.ready !== undefined && (mailboxes.size === 0 || listener.ready !== undefined)
    },
    losses,
    start: service.start,
    stop: service.stop,
    nudge: () => {},
    publish: async (events) => {
      for (const messages of callsOf(events)) await publishAll(publisher, channel, messages)
    },
    subscribe: async (hear) => {
      const mailbox = new Mailbox(hear, log)
      mailboxes.add(mailbox)
      await listen()
      return {
        close: async () => {
          mailboxes.delete(mailbox)
          if (mailboxes.size === 0) unlisten()
          await mailbox.close()
        },
      }
    },
  }
}

/** Redis may be away for long; what needs it comes later then. */
async function patiently(opened: Promise<void>, log: Logger): Promise<void> {
  const options = { timeoutMs: OPEN_WAIT_MS, onTimeout: () => unreachable('does not answer') }
  await withTimeout(() => opened, options).catch((error: Error) =>
    log.warn({ error: error.message }, 'Going on without Redis: events are late until it is back'),
  )
}

async function publishAll(publisher: RedisLink, channel: string, messages: string[]): Promise<void> {
  const client = publisher.ready
  if (!client) throw unreachable('is not connected')
  try {
    await client.eval(PUBLISH_ALL, { keys: [channel], arguments: messages })
  } catch (error) {
    if (error instanceof TimeoutError) publisher.replace(client)
    throw unreachable('did not take the events', error)
  }
}

/** The messages, parted into calls. */
function* callsOf(events: readonly EventEnvelope[]): Generator<string[]> {
  let call: string[] = []
  let chars = 0
  for (const event of events) {
    const message = JSON.stringify(event)
    if (call.length > 0 && chars + message.length > CALL_CHARS_MAX) {
      yield call
      call = []
      chars = 0
    }
    call.push(message)
    chars += message.length
  }
  if (call.length > 0) yield call
}

interface Receiver {
  readonly mailboxes: ReadonlySet<Mailbox>
  readonly losses: { -readonly [Loss in keyof BusLosses]: BusLosses[Loss] }
  readonly log: Logger
}

/** Never throws: node-redis would end the process. */
function receiveMessage(message: string, { mailboxes, losses, log }: Receiver): void {
  let event: EventEnvelope
  try {
    event = EventEnvelope.parse(message)
  } catch (error) {
    losses.malformed++
    log.warn({ error, message: message.slice(0, LOGGED_CHARS_MAX) }, 'A message on the event channel is no event')
    return
  }
  for (const mailbox of mailboxes) {
    if (!mailbox.full) mailbox.put([event])
    else if (losses.dropped++ % 1_000 === 0) {
      log.warn({ dropped: losses.dropped }, 'A subscriber is too slow, events are dropped')
    }
  }
}

function unreachable(what: string, cause?: unknown): AppError {
  return new AppError('BUS_UNREACHABLE', `Redis ${what}`, cause === undefined ? {} : { cause })
}
