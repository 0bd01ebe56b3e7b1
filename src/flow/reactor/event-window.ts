import type { EventEnvelope } from '../../foundation/events/events.ts'

/** Events that came before those in front of them; more are not kept, the outbox has them. */
const AHEAD_MAX = 5_000

/** What became of an event that was put in. */
export type Placed = 'next' | 'ahead' | 'known' | 'refused'

/**
 * The latest events of a partition without a gap, shared by its lanes. Transports may lose events, repeat them and
 * bring them early; a place is filled once, by whoever comes first.
 */
export class EventWindow {
  #events: EventEnvelope[] = []
  #base: number
  readonly #ahead = new Map<number, EventEnvelope>()
  #published: number

  /** Begins after this position. */
  constructor(end: number) {
    this.#base = end + 1
    this.#published = end
  }

  /** Position of the first event that is kept. */
  get base(): number {
    return this.#base
  }

  /** Position of the last event. */
  get end(): number {
    return this.#base + this.#events.length - 1
  }

  get size(): number {
    return this.#events.length
  }

  /** Whether the outbox has, or will soon have, events that are not here. */
  get isBehind(): boolean {
    return this.#published > this.end || this.#ahead.size > 0
  }

  get hasAhead(): boolean {
    return this.#ahead.size > 0
  }

  /** The outbox has, or had, all events up to this position. */
  get published(): number {
    return this.#published
  }

  sees(published: number): void {
    if (published > this.#published) this.#published = published
  }

  /** The last event that is known to exist. */
  get publishedEnd(): number {
    return Math.max(this.#published, this.end)
  }

  put(event: EventEnvelope): Placed {
    const { position } = event
    const next = this.end + 1
    if (position < next) return 'known'
    if (position > next) {
      if (this.#ahead.size >= AHEAD_MAX) return 'refused'
      this.#ahead.set(position, event)
      return 'ahead'
    }
    this.#events.push(event)
    if (this.#ahead.size > 0) this.#join()
    return 'next'
  }

  /** The event that was already at this place, if it is still kept. */
  at(position: number): EventEnvelope | undefined {
    return this.#events[position - this.#base] ?? this.#ahead.get(position)
  }

  /** Events from after the position up to and with `last`, `max` at the most. */
  after(position: number, last: number, max: number): readonly EventEnvelope[] {
    const from = position + 1 - this.#base
    return this.#events.slice(from, Math.min(from + max, last + 1 - this.#base))
  }

  /** Begins anew after this position: what is in front of it no longer exists. */
  skipTo(position: number): void {
    this.#events = []
    this.#base = position + 1
    for (const early of this.#ahead.keys()) if (early <= position) this.#ahead.delete(early)
    this.#join()
  }

  /** Gives up what came early: the outbox brings it, if it is true. Returns how many there were. */
  dropAhead(): number {
    const { size } = this.#ahead
    this.#ahead.clear()
    return size
  }

  /** Keeps only what comes after this position. */
  forget(position: number): void {
    const count = Math.min(position + 1 - this.#base, this.#events.length)
    if (count <= 0) return
    this.#events.splice(0, count)
    this.#base += count
  }

  #join(): void {
    for (let event = this.#ahead.get(this.end + 1); event; event = this.#ahead.get(this.end + 1)) {
      this.#ahead.delete(event.position)
      this.#events.push(event)
    }
  }
}
