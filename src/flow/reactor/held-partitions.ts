import { openCheckpoints } from './checkpoint-store.ts'
import { flushProgress } from './flush-progress.ts'
import { leaseScopeOf } from './handler-homes.ts'
import type { Handlers } from './handlers.ts'
import type { LaneGround } from './lane-ground.ts'
import { balance, releasePartitions, type WorkedPartition } from './member-store.ts'
import { ReactorPartition } from './reactor-partition.ts'
import { readRetries } from './retry-store.ts'

/** How often leases are renewed and shared out while one lasts. */
const BALANCES_PER_LEASE = 5
/** What was lost is asked for again no sooner than this. */
const BALANCE_AGAIN_MS = 200

export interface HeldPartitionsOptions {
  readonly ground: LaneGround
  readonly handlers: Handlers
  readonly memberId: string
  readonly process: string
  readonly leaseMs: number
  /** Called with the database's time at each balance. */
  readonly onDatabaseTime: (nowMs: number, roundTripMs: number) => void
  /** Called when partitions came or went. */
  readonly onChange: () => void
}

/** The partitions whose leases this reactor has, each with its lanes. */
export class HeldPartitions {
  readonly #options: HeldPartitionsOptions
  /** Partition to lease token. */
  readonly #tokens = new Map<number, number>()
  readonly #open = new Map<number, ReactorPartition>()
  #handlersOpened: readonly unknown[] = []
  #scopeOpened = ''
  #leasedUntilMs = 0
  #balanceAtMs = 0
  #elsewhere = ''
  #isFirst = true

  constructor(options: HeldPartitionsOptions) {
    this.#options = options
  }

  get all(): ReactorPartition[] {
    return [...this.#open.values()]
  }

  /** Whether it keeps what is no event of a partition: reactors with other handlers meet it too. */
  keeps(partition: number): boolean {
    return this.#isFirst && this.#tokens.has(partition)
  }

  /** Reactors with the same handlers have the same one: they share what a transport brings. */
  get scope(): string {
    const { ground, handlers } = this.#options
    return leaseScopeOf(ground.group, handlers.names)
  }

  get numbers(): ReadonlySet<number> {
    return new Set(this.#open.keys())
  }

  get(partition: number): ReactorPartition | undefined {
    return this.#open.get(partition)
  }

  get isFirst(): boolean {
    return this.#isFirst
  }

  /** Renews the leases when that is due or there are other handlers, and works on nothing whose lease has run out. */
  async keep(): Promise<void> {
    const { ground, handlers } = this.#options
    if (ground.clock.nowMs() >= this.#balanceAtMs || this.#handlersOpened !== handlers.all) await this.#balance()
    // The database has not answered for so long that others may have the partitions.
    if (ground.clock.nowMs() >= this.#leasedUntilMs)
      for (const partition of [...this.#tokens.keys()]) this.#drop(partition)
  }

  /** Lets the lanes finish their events and stores how far they are, before others may have the partitions. */
  async giveUp(partitions: readonly number[] = [...this.#tokens.keys()]): Promise<void> {
    const { ground, memberId, onChange } = this.#options
    const given = partitions.flatMap((number) => this.#open.get(number) ?? [])
    await Promise.all(given.map((partition) => partition.stop()))
    await flushProgress(ground, given)
    const held = new Map([...this.#tokens].filter(([partition]) => partitions.includes(partition)))
    for (const partition of partitions) this.#forget(partition)
    onChange()
    await releasePartitions(ground.database, { owner: memberId, scope: this.#scopeOpened, held })
  }

  async #balance(): Promise<void> {
    const { ground, handlers, memberId, process, leaseMs, onDatabaseTime, onChange } = this.#options
    const opened = handlers.all
    if (opened !== this.#handlersOpened) await this.giveUp()
    const nowMs = ground.clock.nowMs()
    const startedMs = performance.now()
    const { scope } = this
    const working = new Map(
      this.all.map(({ partition, lanes }) => [partition, lanes.map(({ handler }) => handler.name)]),
    )
    const { taken, lost, surplus, elsewhere, isFirst, isBusy, databaseNowMs } = await balance(ground.database, {
      owner: memberId,
      group: ground.group,
      scope,
      process,
      handlers: handlers.names,
      leaseMs,
      held: this.#tokens,
      working,
    })
    onDatabaseTime(databaseNowMs, performance.now() - startedMs)
    this.#handlersOpened = opened
    this.#scopeOpened = scope
    this.#isFirst = isFirst
    this.#leasedUntilMs = nowMs + leaseMs
    this.#balanceAtMs = nowMs + (isBusy ? BALANCE_AGAIN_MS : leaseMs / BALANCES_PER_LEASE)
    for (const partition of lost) this.#drop(partition)
    for (const { partition, leaseToken } of taken) this.#tokens.set(partition, leaseToken)
    if (surplus.length > 0) this.#giveUpByAndBy(surplus)
    await this.#openLanes(taken)
    this.#tellElsewhere(elsewhere)
    if (taken.length === 0 && lost.length === 0 && surplus.length === 0) return
    onChange()
    ground.log.debug({ taken: taken.length, holds: this.#open.size, group: ground.group }, 'Partitions changed hands')
  }

  #giveUpByAndBy(surplus: readonly number[]): void {
    this.giveUp(surplus).then(
      () => {
        this.#balanceAtMs = 0 // some may be taken again at once, for other handlers
      },
      (error) => this.#options.ground.log.warn({ error }, 'Partitions are not given up yet'),
    )
  }

  async #openLanes(taken: readonly WorkedPartition[]): Promise<void> {
    if (taken.length === 0) return
    const { ground, handlers } = this.#options
    const { all, names } = handlers
    const partitions = taken.map(({ partition }) => partition)
    const [checkpoints, retries] = await ground.database.transaction((tx) =>
      Promise.all([
        openCheckpoints(tx, ground.group, all, partitions),
        readRetries(tx, ground.group, names, partitions),
      ]),
    )
    const positions = new Map(checkpoints.map((row) => [`${row.partition} ${row.handler}`, row.position]))
    for (const { partition, handlers: worked } of taken) {
      const lanes = all
        .filter(({ name }) => worked.includes(name))
        .map((handler) => ({ handler, position: positions.get(`${partition} ${handler.name}`) ?? 0 }))
      const opened = new ReactorPartition({ ground, partition, lanes, onLost: () => this.#drop(partition) })
      for (const { delayMs, ...retry } of retries) {
        if (retry.event.partition !== partition) continue
        opened.lanes.find((lane) => lane.handler.name === retry.handler)?.hold(retry, delayMs)
      }
      this.#open.set(partition, opened)
    }
  }

  /** Ours no longer, or out of date: what is under way there can't store anything any more. */
  #drop(partition: number): void {
    const dropped = this.#open.get(partition)
    this.#forget(partition)
    void dropped?.stop()
    this.#balanceAtMs = Math.min(this.#balanceAtMs, this.#options.ground.clock.nowMs() + BALANCE_AGAIN_MS)
  }

  #forget(partition: number): void {
    this.#tokens.delete(partition)
    this.#open.delete(partition)
  }

  #tellElsewhere(elsewhere: readonly string[]): void {
    const told = elsewhere.join('\n')
    if (told === this.#elsewhere) return
    this.#elsewhere = told
    const { ground, handlers } = this.#options
    const here = handlers.names.filter((name) => !elsewhere.includes(name))
    if (told === '') ground.log.info({ group: ground.group, here }, 'This reactor works on all of its handlers')
    else {
      const text =
        'Reactors with other handlers work on some of this one’s, too: meant to be so, or another configuration?'
      ground.log.warn({ group: ground.group, here, elsewhere }, text)
    }
  }
}
