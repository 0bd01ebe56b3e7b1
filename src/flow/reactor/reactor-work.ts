import { closeSystemIncident } from '../../domains/incidents/incidents.ts'
import type { Bus, Feed } from '../../foundation/bus/bus.ts'
import type { Clock } from '../../foundation/clock.ts'
import { type EventEnvelope, positionsGiven, positionsNow, readPublished } from '../../foundation/events/events.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { moveCheckpoints, openCheckpoints, seeCheckpoints } from './checkpoint-store.ts'
import type { Handlers } from './handlers.ts'
import type { LaneGround } from './lane-ground.ts'
import { MalformedMessages } from './malformed-messages.ts'
import {
  balance,
  createPartitions,
  leave,
  releasePartitions,
  removeDeadMembers,
  storeHeartbeat,
} from './member-store.ts'
import { TypeCounts } from './reactor-metrics.ts'
import { ReactorPartition } from './reactor-partition.ts'
import { readRetries } from './retry-store.ts'

/** As which system incidents know reactors. */
export const COMPONENT = 'event reactor'
/** How often leases are renewed and shared out while one lasts. */
const BALANCES_PER_LEASE = 5
/** What a handler without a transaction has done since is done again after a crash. */
const FLUSH_MS = 200
const SEE_MS = 60_000
const MEASURE_MS = 2_000
/** Outbox rows of each partition that are read at once. */
const PAGE_ROWS_MAX = 100

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
  readonly #database: Database
  readonly #clock: Clock
  readonly #log: Logger
  readonly #malformed: MalformedMessages
  readonly #received = new TypeCounts()
  /** Partition to token. */
  #held = new Map<number, number>()
  readonly #partitions = new Map<number, ReactorPartition>()
  #feed: Feed | undefined
  #leasedUntilMs = 0
  #balanceAtMs = 0
  #pollAtMs = 0
  #flushAtMs = 0
  #seeAtMs = 0
  #measureAtMs = 0
  #handlersOpened: readonly unknown[] = []
  #yields = false
  #confirming: Promise<void> | undefined
  #tickedAtMs = 0

  constructor(options: ReactorWorkOptions) {
    this.#options = options
    const { database, clock, log } = options.ground
    this.#database = database
    this.#clock = clock
    this.#log = log
    this.#malformed = new MalformedMessages(options.ground)
  }

  get partitions(): ReadonlySet<number> {
    return new Set(this.#partitions.keys())
  }

  /** Resolves when it has joined its group and hears what is published. */
  async open(): Promise<void> {
    const { bus, ground, memberId, nudge } = this.#options
    await createPartitions(this.#database, ground.group)
    this.#feed = await bus.feed({
      group: ground.group,
      reader: memberId,
      hear: (events) => this.#hear(events),
      malformed: (...message) => this.#malformed.put(...message, (partition) => this.#held.has(partition)),
      look: () => {
        this.#pollAtMs = 0
        nudge()
      },
    })
    await this.#balance()
    this.#tickedAtMs = this.#clock.nowMs()
  }

  /** Does what is due. */
  async tick(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    this.#tickedAtMs = nowMs
    if (nowMs >= this.#balanceAtMs || this.#handlersOpened !== this.#options.handlers.all) await this.#balance()
    if (this.#clock.nowMs() >= this.#leasedUntilMs) this.#abandon()
    await this.#fill(nowMs >= this.#pollAtMs)
    for (const partition of this.#partitions.values()) partition.pump()
    if (nowMs >= this.#flushAtMs) {
      this.#flushAtMs = nowMs + FLUSH_MS
      await this.#flush([...this.#partitions.values()])
      for (const { partition, stored } of this.#partitions.values()) this.#feed?.handled(partition, stored)
      await this.#malformed.store()
    }
    await this.#tellProgress(nowMs)
  }

  /** Rejects when the loop does not run any more, or a connection does not work. */
  async prove(): Promise<void> {
    const { bus, memberId, leaseMs } = this.#options
    const sinceMs = this.#clock.nowMs() - this.#tickedAtMs
    if (sinceMs > leaseMs) throw new Error(`the loop has not run for ${Math.floor(sinceMs / 1_000)} s`)
    if (!(await storeHeartbeat(this.#database, memberId))) throw new Error('the reactor is not among the members')
    if (!bus.healthy) throw new Error(`${bus.name} is not connected`)
    for (const subject of await removeDeadMembers(this.#database)) {
      await closeSystemIncident(this.#database, { component: COMPONENT, subject }) // it can't say any more that it is well
    }
  }

  /** Ends the work on all partitions and lets others have them. Lanes that are still at an event are waited for. */
  async close(): Promise<void> {
    const { ground, memberId } = this.#options
    try {
      await this.#giveUp([...this.#held.keys()])
      await this.#malformed.store()
      await leave(this.#database, memberId)
    } catch (error) {
      this.#log.warn(
        { error, group: ground.group },
        'Partitions are not given up: others get them when the lease runs out',
      )
    }
    await this.#feed?.close()
    this.#feed = undefined
  }

  #hear(events: readonly EventEnvelope[]): void {
    const touched = new Set<ReactorPartition>()
    for (const event of events) {
      const partition = this.#partitions.get(event.partition)
      if (!partition) continue
      if (this.#feed?.isTrusted) partition.window.confirm(event.position)
      this.#received.add(event.type)
      if (partition.receive(event)) touched.add(partition)
    }
    this.#received.drain((type, times) => this.#options.ground.metrics.received.inc({ type }, times))
    for (const partition of touched) partition.pump()
    if (!this.#feed || this.#feed.isTrusted || this.#confirming) return
    if ([...this.#partitions.values()].some(({ window }) => window.wantsConfirmation))
      this.#confirming = this.#confirm()
  }

  /** Asks the database whether events that have come can be true: once for all that come meanwhile. */
  async #confirm(): Promise<void> {
    try {
      while ([...this.#partitions.values()].some(({ window }) => window.wantsConfirmation)) {
        const asked = [...this.#partitions.values()].map((partition) => ({
          partition,
          arrivals: partition.window.arrivals,
        }))
        const given = await positionsGiven(this.#database)
        for (const { partition, arrivals } of asked) {
          if (partition.window.confirm(given.get(partition.partition) ?? 0, arrivals)) partition.pump()
        }
      }
    } catch (error) {
      this.#log.debug({ error }, 'Events wait until the database confirms them')
    } finally {
      this.#confirming = undefined
    }
  }

  async #balance(): Promise<void> {
    const { ground, handlers, memberId, process, leaseMs, onDatabaseTime } = this.#options
    const opened = handlers.all
    if (opened !== this.#handlersOpened) await this.#giveUp([...this.#held.keys()])
    const nowMs = this.#clock.nowMs()
    const startedMs = performance.now()
    const { taken, lost, surplus, yieldsTo, databaseNowMs } = await balance(this.#database, {
      owner: memberId,
      group: ground.group,
      process,
      handlers: handlers.names,
      leaseMs,
      held: this.#held,
    })
    onDatabaseTime(databaseNowMs, performance.now() - startedMs)
    this.#handlersOpened = opened
    this.#leasedUntilMs = nowMs + leaseMs
    this.#balanceAtMs = nowMs + leaseMs / BALANCES_PER_LEASE
    for (const partition of lost) this.#drop(partition)
    for (const { partition, leaseToken } of taken) this.#held.set(partition, leaseToken)
    if (surplus.size > 0)
      void this.#giveUp([...surplus.keys()]).catch((error) =>
        this.#log.warn({ error }, 'Partitions are not given up yet'),
      )
    await this.#openPartitions(taken.map(({ partition }) => partition))
    this.#tellYield(yieldsTo.map((member) => member.process))
    if (taken.length > 0 || lost.length > 0 || surplus.size > 0) this.#tellHeld(taken.length)
  }

  #tellHeld(taken: number): void {
    this.#feed?.want(this.partitions)
    this.#pollAtMs = 0
    this.#log.debug(
      { taken, holds: this.#partitions.size, group: this.#options.ground.group },
      'Partitions changed hands',
    )
  }

  async #openPartitions(taken: readonly number[]): Promise<void> {
    if (taken.length === 0) return
    const { ground, handlers } = this.#options
    const names = handlers.names
    const [checkpoints, retries] = await this.#database.transaction((tx) =>
      Promise.all([
        openCheckpoints(tx, ground.group, handlers.all, taken),
        readRetries(tx, ground.group, names, taken),
      ]),
    )
    const positions = new Map(checkpoints.map((row) => [`${row.partition} ${row.handler}`, row.position]))
    for (const partition of taken) {
      const lanes = handlers.all.map((handler) => {
        return { handler, position: positions.get(`${partition} ${handler.name}`) ?? 0 }
      })
      const opened = new ReactorPartition({ ground, partition, lanes, onLost: () => this.#drop(partition) })
      for (const { delayMs, ...retry } of retries) {
        if (retry.event.partition !== partition) continue
        opened.lanes.find((lane) => lane.handler.name === retry.handler)?.hold(retry, delayMs)
      }
      this.#partitions.set(partition, opened)
    }
  }

  /** Ours no longer, or out of date: what is under way there can't store anything any more. */
  #drop(partition: number): void {
    this.#held.delete(partition)
    const dropped = this.#partitions.get(partition)
    this.#partitions.delete(partition)
    void dropped?.stop()
    this.#balanceAtMs = Math.min(this.#balanceAtMs, this.#clock.nowMs() + FLUSH_MS)
  }

  /** The leases have run out while the database did not answer: others may have the partitions. */
  #abandon(): void {
    for (const partition of [...this.#held.keys()]) this.#drop(partition)
  }

  /** Lets the lanes finish their events and stores how far they are, before others may have the partitions. */
  async #giveUp(partitions: readonly number[]): Promise<void> {
    const given = partitions.flatMap((number) => this.#partitions.get(number) ?? [])
    await Promise.all(given.map((partition) => partition.stop()))
    await this.#flush(given)
    const held = new Map([...this.#held].filter(([partition]) => partitions.includes(partition)))
    for (const partition of partitions) {
      this.#held.delete(partition)
      this.#partitions.delete(partition)
    }
    this.#feed?.want(this.partitions)
    const { ground, memberId } = this.#options
    await releasePartitions(this.#database, { owner: memberId, group: ground.group, held })
  }

  /** Reads what the transport has not brought. */
  async #fill(isPoll: boolean): Promise<void> {
    const partitions = [...this.#partitions.values()]
    if (isPoll) {
      this.#pollAtMs = this.#clock.nowMs() + (this.#feed?.pollMs ?? 0)
      const ends = await positionsNow(this.#database)
      for (const partition of partitions) partition.sees(ends.get(partition.partition) ?? 0, this.#clock.nowMs())
    }
    for (;;) {
      const wanting = partitions.filter((partition) => partition.wantsEvents)
      if (wanting.length === 0) return
      const after = new Map(wanting.map(({ partition, window }) => [partition, window.end]))
      const events = await readPublished(
        this.#database,
        after,
        PAGE_ROWS_MAX,
        (message, error, partition, position) => {
          if (this.#partitions.get(partition)?.meets(position)) this.#malformed.put(message, error, 'one', () => true)
        },
      )
      const found = Map.groupBy(events, (event) => event.partition)
      for (const partition of wanting) partition.fill(found.get(partition.partition) ?? [])
      for (const event of events) this.#received.add(event.type)
      this.#received.drain((type, times) => this.#options.ground.metrics.received.inc({ type }, times))
      for (const partition of wanting) partition.pump()
      if (events.length === 0) return
      await new Promise(setImmediate)
    }
  }

  /** Stores the progress of lanes that do not store it themselves: one statement for all. */
  async #flush(partitions: readonly ReactorPartition[]): Promise<void> {
    const lanes = partitions.flatMap(({ partition, lanes }) =>
      lanes.flatMap((lane) =>
        lane.progress.unstored ? [{ lane, partition, handler: lane.handler.name, ...lane.progress.unstored }] : [],
      ),
    )
    if (lanes.length === 0) return
    const moving = moveCheckpoints(this.#database, this.#options.ground.group, lanes)
    const moved = moving.then((rows) => new Set(rows.map((row) => `${row.partition} ${row.handler}`)))
    for (const { lane, partition, handler, to } of lanes) {
      lane.progress.storeWith(
        to,
        moved.then((keys) => keys.has(`${partition} ${handler}`)),
      )
    }
    await moved
  }

  async #tellProgress(nowMs: number): Promise<void> {
    const { ground, handlers } = this.#options
    if (nowMs >= this.#seeAtMs) {
      this.#seeAtMs = nowMs + SEE_MS
      await seeCheckpoints(this.#database, ground.group, handlers.names)
    }
    if (nowMs < this.#measureAtMs) return
    this.#measureAtMs = nowMs + MEASURE_MS
    for (const { name } of handlers.all) {
      let lag = 0
      for (const { window, lanes } of this.#partitions.values()) {
        const lane = lanes.find((lane) => lane.handler.name === name)
        if (lane) lag += window.publishedEnd - lane.cursor
      }
      ground.metrics.lag.set({ handler: name }, lag)
    }
  }

  #tellYield(processes: readonly string[]): void {
    const yields = processes.length > 0
    if (yields && !this.#yields) {
      this.#log.warn(
        { group: this.#options.ground.group, handlers: this.#options.handlers.names, others: processes },
        'Other reactors have handlers that this one lacks, so it stands by: give all the same, or this one its own group',
      )
    }
    this.#yields = yields
  }
}
