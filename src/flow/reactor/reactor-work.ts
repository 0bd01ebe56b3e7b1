import { closeSystemIncident } from '../../domains/incidents/incidents.ts'
import type { Bus } from '../../foundation/bus/bus.ts'
import { seeCheckpoints } from './checkpoint-store.ts'
import { EventIntake } from './event-intake.ts'
import { flushProgress } from './flush-progress.ts'
import type { Handlers } from './handlers.ts'
import { HeldPartitions } from './held-partitions.ts'
import type { LaneGround } from './lane-ground.ts'
import { leave, removeDeadMembers, storeHeartbeat } from './member-store.ts'

/** As which system incidents know reactors. */
export const COMPONENT = 'event reactor'
/** What a handler without a transaction has done since is done again after a crash. */
const FLUSH_MS = 200
const SEE_MS = 60_000
const MEASURE_MS = 2_000

export interface ReactorWorkOptions {
  readonly ground: LaneGround
  readonly handlers: Handlers
  readonly bus: Bus
  readonly memberId: string
  readonly process: string
  readonly leaseMs: number
  /** Called with the database's time at each balance. */
  readonly onDatabaseTime: (nowMs: number, roundTripMs: number) => void
  /** Asks for a tick. */
  readonly nudge: () => void
}

/** What a running reactor does: holds its share of the partitions, brings events to their lanes, stores progress. */
export class ReactorWork {
  readonly #options: ReactorWorkOptions
  readonly #partitions: HeldPartitions
  readonly #intake: EventIntake
  #flushAtMs = 0
  #seeAtMs = 0
  #measureAtMs = 0
  #tickedAtMs = 0

  constructor(options: ReactorWorkOptions) {
    this.#options = options
    const { ground, bus, memberId: reader, nudge } = options
    this.#partitions = new HeldPartitions({ ...options, onChange: () => this.#intake.want() })
    this.#intake = new EventIntake({ ground, bus, reader, nudge, partitions: this.#partitions })
  }

  /** Resolves when it has joined its group and hears what is published. */
  async open(): Promise<void> {
    const { clock } = this.#options.ground
    await this.#intake.open()
    try {
      await this.#partitions.keep()
    } catch (error) {
      await this.#intake.close() // nobody stops what has not started
      throw error
    }
    this.#tickedAtMs = clock.nowMs()
  }

  /** Does what is due. */
  async tick(): Promise<void> {
    const { ground } = this.#options
    const nowMs = ground.clock.nowMs()
    this.#tickedAtMs = nowMs
    await this.#partitions.keep()
    await this.#intake.fill()
    for (const partition of this.#partitions.all) partition.pump()
    if (nowMs >= this.#flushAtMs) {
      this.#flushAtMs = nowMs + FLUSH_MS
      await flushProgress(ground, this.#partitions.all)
      await this.#intake.settle()
    }
    if (nowMs >= this.#seeAtMs) {
      this.#seeAtMs = nowMs + SEE_MS
      await seeCheckpoints(ground.database, ground.group, this.#options.handlers.names)
    }
    if (nowMs >= this.#measureAtMs) {
      this.#measureAtMs = nowMs + MEASURE_MS
      this.#measureLag()
    }
  }

  /** Rejects when the loop does not run any more, or a connection does not work. */
  async prove(): Promise<void> {
    const { ground, bus, memberId, leaseMs } = this.#options
    const sinceMs = ground.clock.nowMs() - this.#tickedAtMs
    if (sinceMs > leaseMs) throw new Error(`the loop has not run for ${Math.floor(sinceMs / 1_000)} s`)
    if (!(await storeHeartbeat(ground.database, memberId))) throw new Error('the reactor is not among the members')
    if (!bus.healthy) throw new Error(`${bus.name} is not connected`)
    for (const subject of await removeDeadMembers(ground.database)) {
      await closeSystemIncident(ground.database, { component: COMPONENT, subject }) // it can't say any more that it is well
    }
  }

  /** Ends the work on all partitions and lets others have them. Lanes that are still at an event are waited for. */
  async close(): Promise<void> {
    const { database, group, log } = this.#options.ground
    try {
      await this.#partitions.giveUp()
      await this.#intake.settle()
      await leave(database, this.#options.memberId)
    } catch (error) {
      log.warn({ error, group }, 'Partitions are not given up: others get them when the lease runs out')
    }
    await this.#intake.close()
  }

  /** How many published events each handler has before it. */
  #measureLag(): void {
    const { ground, handlers } = this.#options
    for (const { name } of handlers.all) {
      let lag = 0
      for (const { window, lanes } of this.#partitions.all) {
        const lane = lanes.find((lane) => lane.handler.name === name)
        if (lane) lag += window.publishedEnd - lane.cursor
      }
      ground.metrics.lag.set({ handler: name }, lag)
    }
  }
}
