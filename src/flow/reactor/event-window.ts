import type { EventEnvelope } from '../../foundation/events/events.ts'

/** Events that came before those in front of them; more are not kept, the outbox has them. */
const AHEAD_MAX = 5_000

/** An event whose turn has not come, and how many had come before it. */
interface Early {
  readonly event: EventEnvelope
  readonly arrival: number
}

/**
 * The latest events of a partition without a gap, shared by its lanes. Transports may lose events, repeat them, bring
 * them early, and bring what somebody else has made up: so an event of a transport is taken in when its place comes and
 * the relay is known to have given that place away; a place that two claim is left to the outbox.
 */
export class EventWindow {
  #events: EventEnvelope[] = []
  #base: number
  readonly #ahead = new Map<number, Early>()
  readonly #disputed = new Set<number>()
  #confirmed: number
  #published: number
  #arrivals = 0

  /** Begins after this position. */
  constructor(end: number) {
    this.#base = end + 1
    this.#published = end
    this.#confirmed = end
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

  /** Whether the outbox has events that are not here. */
  get isBehind(): boolean {
    return this.#published > this.end
  }

  get hasAhead(): boolean {
    return this.#ahead.size > 0
  }

  /** Whether events are here that may not exist. */
  get wantsConfirmation(): boolean {
    for (const position of this.#ahead.keys()) if (position > this.#confirmed) return true
    return false
  }

  /** How many events have come so far. */
  get arrivals(): number {
    return this.#arrivals
  }

  /** The outbox has, or had, all events up to this position. */
  get published(): number {
    return this.#published
  }

  sees(published: number): void {
    if (published > this.#published) this.#published = published
    this.confirm(published)
  }

  /**
   * The relay has given away the places up to this one. It does so before it publishes an event: those among the first
   * so many `arrivals`, the ones from before it was asked, that claim a later place are made up. Returns whether events
   * came in.
   */
  confirm(position: number, arrivals = 0): boolean {
    if (position > this.#confirmed) this.#confirmed = position
    for (const [place, { arrival }] of [...this.#ahead]) {
      if (place > position && arrival <= arrivals) this.#ahead.delete(place)
    }
    const { end } = this
    this.#join()
    return this.end > end
  }

  /** The last event that is known to exist. */
  get publishedEnd(): number {
    return Math.max(this.#published, this.end)
  }

  /** Takes an event of a transport. Returns whether it came in. */
  put(event: EventEnvelope): boolean {
    const { position } = event
    const arrival = ++this.#arrivals
    const next = this.end + 1
    if (position < next) return false
    if (
      position === next &&
      position <= this.#confirmed &&
      !this.#ahead.has(position) &&
      !this.#disputed.has(position)
    ) {
      this.#events.push(event)
      if (this.#ahead.size > 0) this.#join()
      return true
    }
    const other = this.#ahead.get(position)
    if (other && other.event.id !== event.id) {
      this.#ahead.delete(position)
      if (this.#disputed.size < AHEAD_MAX) this.#disputed.add(position)
    } else if (!other && this.#ahead.size < AHEAD_MAX && !this.#disputed.has(position))
      this.#ahead.set(position, { event, arrival })
    return false
  }

  /** Takes an event of the outbox. */
  append(event: EventEnvelope): void {
    if (event.position !== this.end + 1) return
    this.#events.push(event)
    this.#ahead.delete(event.position)
    this.#disputed.delete(event.position)
    this.confirm(event.position)
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
    for (const early of [...this.#ahead.keys()]) if (early <= position) this.#ahead.delete(early)
    this.#join()
  }

  /** Gives up what came early: the outbox brings it, if it is true. Returns how many there were. */
  dropAhead(): number {
    const { size } = this.#ahead
    this.#ahead.clear()
    this.#disputed.clear()
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
    for (let next = this.end + 1; next <= this.#confirmed; next++) {
      const early = this.#ahead.get(next)
      if (!early) return
      this.#ahead.delete(next)
      this.#events.push(early.event)
    }
  }
}
