import type { Bus } from '../../foundation/bus/bus.ts'
import type { Clock } from '../../foundation/clock.ts'
import { outgoingEvents } from '../../foundation/events/events.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type BacklogGauges, backlogGauges, measureBacklog } from './backlog.ts'
import { balanceLeases, releaseLeases } from './leases.ts'
import type { Held } from './places.ts'
import { ScanFloor } from './scan-floor.ts'
import { takeTurn } from './turn.ts'
import type { PlacedRow } from './turn-store.ts'

const LEASE_MS = 10_000
/** How often leases are renewed and shared out while one lasts. */
const BALANCES_PER_LEASE = 5
const MEASURE_MS = 5_000

export interface OutboxRelayOptions {
  readonly database: Database
  readonly bus: Bus
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
  /** A UUID of this relay alone. */
  readonly ownerId: string
  /** How long a relay that died keeps its partitions from others; 10 s unless given. */
  readonly leaseMs?: number
}

/** `full`: more is waiting. `busy`: all that was there is published. `idle`: there was nothing. */
export type CycleOutcome = 'full' | 'busy' | 'idle' | 'failed'

/** The relay's work, cycle by cycle; when the next one runs is the caller's to say. Cycles must not overlap. */
export class OutboxRelay {
  readonly #options: OutboxRelayOptions
  readonly #leaseMs: number
  readonly #gauges: BacklogGauges
  #held: Held = new Map()
  #floor = new ScanFloor()
  /** What the last turn placed, and whether it is published. */
  #rows: readonly PlacedRow[] = []
  #published = true
  #failures = 0
  #leasedUntilMs = 0
  #balanceAtMs = 0
  #measureAtMs = 0

  constructor(options: OutboxRelayOptions) {
    this.#options = options
    this.#leaseMs = options.leaseMs ?? LEASE_MS
    this.#gauges = backlogGauges(options.metrics)
  }

  /** Failed cycles since the last that worked. */
  get failures(): number {
    return this.#failures
  }

  /** Marks what was published, chooses what comes next, and publishes it. Never throws. */
  async cycle(): Promise<CycleOutcome> {
    let taken: number
    try {
      if (this.#published) await this.#turn()
      // After choosing and before publishing: a partition that is given up takes its chosen rows along.
      taken = await this.#balance()
      await this.#measure()
    } catch (error) {
      this.#forget()
      return this.#failed(error, 'The relay has trouble with the database, trying again')
    }
    if (this.#rows.length === 0) return taken > 0 ? 'full' : 'idle'
    if (this.#options.clock.nowMs() >= this.#leasedUntilMs) {
      this.#forget() // this process stood still; others may have the partitions and go on with what is in flight
      return 'full'
    }
    try {
      await this.#publish()
    } catch (error) {
      return this.#failed(error, 'Events can not be published, they wait in the outbox')
    }
    if (this.#failures > 0) this.#options.log.info({ failures: this.#failures }, 'Events are published again')
    this.#failures = 0
    return this.#rows.length >= limits.relayBatchMax / 2 ? 'full' : 'busy'
  }

  /** Marks what was published, and lets other relays have the partitions at once. Never throws. */
  async release(): Promise<void> {
    const { database, ownerId, log } = this.#options
    try {
      if (this.#published) await this.#turn()
      await releaseLeases(database, ownerId, this.#tokens())
    } catch (error) {
      log.warn({ error }, 'Partitions are not given up: other relays get them when the lease runs out')
    }
    this.#forget()
  }

  async #turn(): Promise<void> {
    if (this.#held.size === 0) return
    const { database, bus } = this.#options
    const published = this.#rows
    const turn = await takeTurn(database, {
      held: this.#held,
      published,
      rowsMax: limits.relayBatchMax,
      floor: this.#floor,
    })
    this.#held = turn.held
    this.#rows = turn.rows
    this.#published = turn.rows.length === 0
    if (published.length > 0) bus.nudge()
  }

  /** Returns how many partitions were taken over. */
  async #balance(): Promise<number> {
    const { database, clock, ownerId, log } = this.#options
    const nowMs = clock.nowMs()
    if (nowMs < this.#balanceAtMs) return 0
    const { taken, lost } = await balanceLeases(database, {
      owner: ownerId,
      leaseMs: this.#leaseMs,
      held: this.#tokens(),
    })
    this.#leasedUntilMs = nowMs + this.#leaseMs
    this.#balanceAtMs = nowMs + this.#leaseMs / BALANCES_PER_LEASE
    if (lost.length === 0 && taken.length === 0) return 0
    const kept = [...this.#held].filter(([partition]) => !lost.includes(partition))
    this.#held = new Map([...kept, ...taken.map((place) => [place.partition, place] as const)])
    this.#rows = this.#rows.filter((row) => !lost.includes(row.partition))
    this.#published ||= this.#rows.length === 0
    log.debug(
      { taken: taken.map((place) => place.partition), lost, holds: this.#held.size },
      'Partitions changed hands',
    )
    return taken.length
  }

  async #measure(): Promise<void> {
    const { database, clock } = this.#options
    const nowMs = clock.nowMs()
    if (nowMs < this.#measureAtMs) return
    this.#measureAtMs = nowMs + MEASURE_MS
    await measureBacklog(database, this.#held, this.#gauges)
  }

  async #publish(): Promise<void> {
    await this.#options.bus.publish(this.#rows.flatMap((row) => outgoingEvents(row, row.position)))
    this.#published = true
  }

  #tokens(): ReadonlyMap<number, number> {
    return new Map([...this.#held.values()].map((place) => [place.partition, place.leaseToken]))
  }

  /**
   * After an error it is not known what was committed, and a transaction may still be under way: the partitions are
   * taken anew, with other tokens, and what was in flight is published again.
   */
  #forget(): void {
    this.#held = new Map()
    this.#floor = new ScanFloor()
    this.#rows = []
    this.#published = true
    this.#balanceAtMs = 0
  }

  #failed(error: unknown, message: string): 'failed' {
    if (this.#failures++ === 0) this.#options.log.warn({ error }, message)
    else this.#options.log.debug({ error, failures: this.#failures }, message)
    return 'failed'
  }
}
