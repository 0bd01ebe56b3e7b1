import type { EventEnvelope, Positions } from '../events/events.ts'
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
  publish(events: readonly EventEnvelope[]): Promise<void>
  /** Says that published events are marked in the outbox: a transport that reads them there looks at once. */
  nudge(): void
  /** Hears what is published from now on. */
  subscribe(hear: Hear, options?: SubscribeOptions): Promise<Subscription>
}
