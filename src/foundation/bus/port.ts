import type { EventEnvelope, OutgoingEvent, Positions } from '../events/events.ts'
import type { Service } from '../service.ts'

/** Gets each event in turn: the next one only when the promise has settled. What it throws is logged, no more. */
export type Hear = (event: EventEnvelope) => void | Promise<void>

export interface SubscribeOptions {
  /** Start after these positions. Only a transport that keeps events can go back; others start with what comes next. */
  readonly after?: Positions
}

export interface Subscription {
  /** Resolves when `hear` is idle and will not be called again; so `hear` itself can't wait for it. */
  close(): Promise<void>
}

/** Who wants events as they come, in batches: a reactor. None of its functions may throw or take long. */
export interface FeedOptions {
  /** An id of this reader alone. */
  readonly reader: string
  /** Events in the order of their positions, as far as the transport can: some may be missing, early, or there twice. */
  hear(events: readonly EventEnvelope[]): void
  /** A message that is no event; heard by this reader alone, or by all readers. */
  malformed(message: string, error: unknown, heardBy: 'one' | 'all'): void
  /** Something was published that is to be read from the outbox. */
  look(): void
}

/**
 * A reader's connection to a transport. It is quick, not complete: the reader sees by the positions what is missing and
 * takes it from the outbox, where it also looks by itself.
 */
export interface Feed {
  /** How often the reader should look into the outbox by itself, in ms. */
  readonly pollMs: number
  /** Nobody else can bring events: they need no confirmation. */
  readonly isTrusted: boolean
  /** The partitions whose events the reader wants now. Readers of one group share the events; each group gets them all. */
  want(partitions: ReadonlySet<number>, group: string): void
  /** The reader has room again for events of these partitions, and has durably dealt with all up to the position. */
  handled(partition: number, position: number): void
  close(): Promise<void>
}

/** What a transport had to leave out since it was made. */
export interface BusLosses {
  /** Messages that are no events, from a foreign publisher. */
  readonly malformed: number
  /** Events that were thrown away because a subscriber was too slow; the gap shows in the positions. */
  readonly dropped: number
}

/**
 * Carries published events from the relay to whoever listens, in any process. Every transport delivers the events of
 * a run in order and at least once to the subscribers that it has, and survives what it depends on being away.
 */
export interface Bus extends Service {
  /** Whether events can be published now. */
  readonly healthy: boolean
  readonly losses: BusLosses
  /**
   * Resolves when the transport has all events. Fails with `BUS_UNREACHABLE` (retryable) after 5 s without an answer at
   * the latest; the transport may then have some of them.
   */
  publish(events: readonly OutgoingEvent[]): Promise<void>
  /** Says that published events are marked in the outbox: a transport that reads them there looks at once. */
  nudge(): void
  /** Hears what is published from now on. */
  subscribe(hear: Hear, options?: SubscribeOptions): Promise<Subscription>
  /** Feeds a reader with what is published from now on. */
  feed(options: FeedOptions): Promise<Feed>
}
