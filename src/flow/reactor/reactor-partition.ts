import { type EventEnvelope, readPublished } from '../../foundation/events/events.ts'
import { limits } from '../../limits.ts'
import { EventWindow } from './event-window.ts'
import type { Handler } from './handlers.ts'
import { Lane, type LaneSource } from './lane.ts'
import type { LaneGround } from './lane-ground.ts'

/** Events that a lane takes at once, and outbox rows that it reads at once when it is far behind. */
const SLICE_MAX = 500
const PAGE_ROWS_MAX = 200
/** Longer than any relay needs from publishing an event to marking it. */
const AHEAD_KEPT_MS = 30_000
/** No further events are read for lanes that have so many before them. */
const ENOUGH_EVENTS = 1_000

export interface PartitionOptions {
  readonly ground: LaneGround
  readonly partition: number
  /** The handlers, the highest priority first, each with its checkpoint. */
  readonly lanes: readonly { readonly handler: Handler; readonly position: number }[]
  readonly onLost: () => void
}

/** A partition that this reactor holds: its latest events, and a lane for each handler. */
export class ReactorPartition implements LaneSource {
  readonly partition: number
  readonly lanes: readonly Lane[]
  readonly window: EventWindow
  readonly #ground: LaneGround
  readonly #onLost: () => void
  #isActive = true
  #aheadSinceMs = 0
  #malformedEnd: number

  constructor({ ground, partition, lanes, onLost }: PartitionOptions) {
    this.partition = partition
    this.#ground = ground
    this.#onLost = onLost
    this.lanes = lanes.map(({ handler, position }) => new Lane(ground, this, handler, position))
    this.window = new EventWindow(Math.max(0, ...lanes.map(({ position }) => position)))
    this.#malformedEnd = this.window.end
  }

  /** Every handler has durably dealt with all events up to this position. */
  get stored(): number {
    return Math.min(this.window.end, ...this.lanes.map((lane) => lane.progress.stored))
  }

  get isActive(): boolean {
    return this.#isActive
  }

  /** Whether events should be read from the outbox for it. */
  get wantsEvents(): boolean {
    const { window, lanes } = this
    return (
      this.#isActive && window.isBehind && window.end - Math.max(0, ...lanes.map((lane) => lane.cursor)) < ENOUGH_EVENTS
    )
  }

  /** Takes an event in as it comes; true if it has to be looked at. */
  receive(event: EventEnvelope): boolean {
    if (this.window.size >= limits.reactorWindowEventsMax) return false // the outbox brings it when there is room
    return this.window.put(event)
  }

  /** The outbox has all events up to this position. What came early and is not true by now never was. */
  sees(published: number, nowMs: number): void {
    const { window } = this
    window.sees(published)
    if (!window.hasAhead || window.end < published) this.#aheadSinceMs = nowMs
    else if (nowMs - this.#aheadSinceMs > AHEAD_KEPT_MS) {
      const events = window.dropAhead()
      this.#ground.log.warn({ partition: this.partition, events }, 'Events were announced that do not exist')
    }
  }

  /** Takes in what was read from the outbox. What is missing there does not exist any more. */
  fill(events: readonly EventEnvelope[]): void {
    const { window } = this
    const first = events[0]?.position ?? window.published + 1
    if (first > window.end + 1) window.skipTo(first - 1)
    for (const event of events) window.append(event)
  }

  /** Whether what stands at this position of the outbox, and is no event, is met for the first time. */
  meets(position: number): boolean {
    if (position <= this.#malformedEnd) return false
    this.#malformedEnd = position
    return true
  }

  /** Lets every lane go on that has something to do. */
  pump(): void {
    for (const lane of this.lanes) if (!lane.isWorking) void lane.work()
  }

  next(lane: Lane): readonly EventEnvelope[] | Promise<readonly EventEnvelope[]> {
    if (lane.cursor < this.window.base - 1) return this.#readFor(lane)
    return this.window.after(lane.cursor, this.#lastFor(lane), SLICE_MAX)
  }

  moved(): void {
    const { window } = this
    const first = Math.min(...this.lanes.map((lane) => lane.cursor))
    window.forget(Math.max(Math.min(first, window.end), window.end - limits.reactorWindowEventsMax / 2))
    this.pump()
  }

  lost(): void {
    if (!this.#isActive) return
    this.#isActive = false
    this.#onLost()
  }

  /** Takes no further event; resolves when none is being handled. */
  async stop(): Promise<void> {
    this.#isActive = false
    while (this.lanes.some((lane) => lane.isWorking)) await Promise.all(this.lanes.map((lane) => lane.idle()))
    await Promise.all(this.lanes.map((lane) => lane.progress.settled()))
  }

  /** Handlers of a higher priority have an event before it, unless they hang or are far behind. */
  #lastFor(lane: Lane): number {
    let last = this.window.end
    for (const other of this.lanes) {
      if (other.handler.priority <= lane.handler.priority) break
      if (!other.isLate && other.cursor >= this.window.base - 1) last = Math.min(last, other.cursor)
    }
    return last
  }

  /** For a lane that is behind the window. What is no longer in the outbox can't be handled any more. */
  async #readFor(lane: Lane): Promise<readonly EventEnvelope[]> {
    const after = new Map([[this.partition, lane.cursor]])
    const events = await readPublished(this.#ground.database, after, PAGE_ROWS_MAX)
    const next = events[0]?.position ?? this.window.base
    if (next > lane.cursor + 1) lane.miss(next - 1)
    return events
  }
}
