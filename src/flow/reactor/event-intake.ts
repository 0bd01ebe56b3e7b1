import type { Bus, Feed } from '../../foundation/bus/bus.ts'
import {
  type EventEnvelope,
  eventTypes,
  positionsGiven,
  positionsNow,
  readPublished,
} from '../../foundation/events/events.ts'
import type { HeldPartitions } from './held-partitions.ts'
import type { LaneGround } from './lane-ground.ts'
import { MalformedMessages } from './malformed-messages.ts'
import { TypeCounts } from './reactor-metrics.ts'
import type { ReactorPartition } from './reactor-partition.ts'

/** Outbox rows of each partition that are read at once. */
const PAGE_ROWS_MAX = 100

export interface EventIntakeOptions {
  readonly ground: LaneGround
  readonly bus: Bus
  readonly reader: string
  readonly partitions: HeldPartitions
  /** Asks for `fill`. */
  readonly nudge: () => void
}

/** Where events come from: the transport brings them, and the outbox those that it has not brought. */
export class EventIntake {
  readonly #options: EventIntakeOptions
  readonly #partitions: HeldPartitions
  readonly #malformed: MalformedMessages
  readonly #received = new TypeCounts()
  #feed: Feed | undefined
  #pollAtMs = 0
  #confirming: Promise<void> | undefined

  constructor(options: EventIntakeOptions) {
    this.#options = options
    this.#partitions = options.partitions
    this.#malformed = new MalformedMessages(options.ground)
  }

  /** Resolves when it hears what is published. */
  async open(): Promise<void> {
    const { bus, reader, nudge } = this.#options
    this.#feed = await bus.feed({
      reader,
      hear: (events) => this.#hear(events),
      malformed: (message, error, heardBy) => {
        const { isFirst } = this.#partitions
        this.#malformed.put(message, error, (partition) =>
          heardBy === 'all' ? this.#partitions.keeps(partition) : isFirst,
        )
      },
      look: () => {
        this.#pollAtMs = 0
        nudge()
      },
    })
  }

  /** Other partitions are wanted than before. */
  want(): void {
    this.#feed?.want(this.#partitions.numbers, this.#partitions.scope)
    this.#pollAtMs = 0
  }

  /** Tells the transport what is dealt with, and keeps what was no event. */
  async settle(): Promise<void> {
    for (const { partition, stored } of this.#partitions.all) this.#feed?.handled(partition, stored)
    await this.#malformed.store()
  }

  async close(): Promise<void> {
    await this.#feed?.close()
    this.#feed = undefined
  }

  /** Reads from the outbox what the transport has not brought. */
  async fill(): Promise<void> {
    const { database, clock } = this.#options.ground
    const partitions = this.#partitions.all
    if (clock.nowMs() >= this.#pollAtMs) {
      this.#pollAtMs = clock.nowMs() + (this.#feed?.pollMs ?? 0)
      const ends = await positionsNow(database)
      for (const partition of partitions) partition.sees(ends.get(partition.partition) ?? 0, clock.nowMs())
    }
    for (;;) {
      const wanting = partitions.filter((partition) => partition.wantsEvents)
      if (wanting.length === 0) return
      const after = new Map(wanting.map(({ partition, window }) => [partition, window.end]))
      const events = await readPublished(database, after, PAGE_ROWS_MAX, (message, error, partition, position) => {
        if (this.#partitions.get(partition)?.meets(position))
          this.#malformed.put(message, error, () => this.#partitions.isFirst)
      })
      const found = Map.groupBy(events, (event) => event.partition)
      for (const partition of wanting) partition.fill(found.get(partition.partition) ?? [])
      for (const event of events) this.#count(event)
      this.#report()
      for (const partition of wanting) partition.pump()
      if (events.length === 0) return
      await new Promise(setImmediate)
    }
  }

  #hear(events: readonly EventEnvelope[]): void {
    const touched = new Set<ReactorPartition>()
    for (const event of events) {
      const partition = this.#partitions.get(event.partition)
      if (!partition) continue
      if (this.#feed?.isTrusted) partition.window.confirm(event.position)
      this.#count(event)
      if (partition.receive(event)) touched.add(partition)
    }
    this.#report()
    for (const partition of touched) partition.pump()
    if (!this.#feed || this.#feed.isTrusted || this.#confirming) return
    if (this.#wantsConfirmation) this.#confirming = this.#confirm()
  }

  get #wantsConfirmation(): boolean {
    return this.#partitions.all.some(({ window }) => window.wantsConfirmation)
  }

  /** Asks the database whether events that have come can be true: once for all that come meanwhile. */
  async #confirm(): Promise<void> {
    const { database, log } = this.#options.ground
    try {
      while (this.#wantsConfirmation) {
        const asked = this.#partitions.all.map((partition) => ({ partition, arrivals: partition.window.arrivals }))
        const given = await positionsGiven(database)
        for (const { partition, arrivals } of asked) {
          if (partition.window.confirm(given.get(partition.partition) ?? 0, arrivals)) partition.pump()
        }
      }
    } catch (error) {
      log.debug({ error }, 'Events wait until the database confirms them')
    } finally {
      this.#confirming = undefined
    }
  }

  /** Types that are none of ours are one: whoever may publish could else fill the memory with labels. */
  #count({ type }: EventEnvelope): void {
    this.#received.add(Object.hasOwn(eventTypes, type) ? type : 'other')
  }

  #report(): void {
    this.#received.drain((type, times) => this.#options.ground.metrics.received.inc({ type }, times))
  }
}
