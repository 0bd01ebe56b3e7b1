import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { createRelay, type Relay, type RelayOptions } from '../../src/flow/relay/relay.ts'
import { type Bus, createBus } from '../../src/foundation/bus/bus.ts'
import { systemClock } from '../../src/foundation/clock.ts'
import { appendEvents, type EventEnvelope, type RunEvent } from '../../src/foundation/events/events.ts'
import { createIdSource } from '../../src/foundation/ids.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { noMetrics } from '../../src/foundation/metrics.ts'
import {
  type Database,
  type DatabaseOptions,
  IN_MEMORY,
  openDatabase,
  openEmbedded,
} from '../../src/foundation/storage/storage.ts'
import { sharedSnapshot } from '../support/embedded.ts'
import { createDatabase, type PostgresServer } from '../support/servers.ts'

export const newId = createIdSource()

/** How a bus of the tests treats what it gets: events that it keeps are delivered; a rejection fails the publish. */
export type Treatment = (
  events: readonly EventEnvelope[],
  deliver: (events: readonly EventEnvelope[]) => void,
) => Promise<void>

export const take: Treatment = async (events, deliver) => deliver(events)
/** The process dies: nothing more comes from its relay, and nothing is given up. */
export const dieBefore: Treatment = () => new Promise(() => {})
export const dieAfter: Treatment = (events, deliver) => {
  deliver(events)
  return new Promise(() => {})
}

type Open = (options?: Pick<DatabaseOptions, 'idleTransactionMs'>) => Promise<Database>

/** A database with relays on it, and all that they delivered, in the order of arrival. */
export class OutboxWorld {
  readonly delivered: EventEnvelope[] = []
  /** Ids of events that were committed, per run in the order of the commits. */
  readonly committed = new Map<string, string[]>()
  readonly database: Database
  readonly #drop: () => Promise<void>
  #relays: { readonly relay: Relay; readonly database: Database; readonly death: PromiseWithResolvers<void> }[] = []
  readonly #open: Open

  private constructor(database: Database, open: Open, drop: () => Promise<void>) {
    this.database = database
    this.#open = open
    this.#drop = drop
  }

  static async onPostgres(server: PostgresServer): Promise<OutboxWorld> {
    const { url, drop } = await createDatabase(server)
    const open: Open = (options) => openDatabase({ url, dataDir: '', log: silentLogger, ...options })
    const database = await open()
    return new OutboxWorld(database, open, drop)
  }

  static async embedded(): Promise<OutboxWorld> {
    const database = await openEmbedded({ dataDir: IN_MEMORY, snapshot: await sharedSnapshot() })
    return new OutboxWorld(
      database,
      async () => database,
      async () => {},
    )
  }

  /** Connections of a process that may stand still in a transaction for 500 ms; for a relay, which closes them. */
  connect(): Promise<Database> {
    return this.#open({ idleTransactionMs: 500 })
  }

  /** Starts a relay with connections of its own, as a process has. Its lease is 500 ms unless given. */
  async startRelay(treat: Treatment = take, options: Partial<RelayOptions> = {}): Promise<Relay> {
    const database = options.database ?? (await this.#open())
    const relay = createRelay({
      bus: await this.#bus(treat),
      clock: systemClock,
      log: silentLogger,
      metrics: noMetrics,
      ownerId: randomUUID(),
      random: Math.random,
      leaseMs: 500,
      ...options,
      database,
    })
    const death = Promise.withResolvers<void>()
    this.#relays.push({ relay, database, death })
    if (treat === dieBefore || treat === dieAfter) death.resolve()
    await relay.start()
    return relay
  }

  /** Stops a relay and closes its connections, as a process that ends. */
  async end(relay: Relay): Promise<void> {
    await relay.stop()
    await this.#relays.find((entry) => entry.relay === relay)?.database.close()
    this.#relays = this.#relays.filter((entry) => entry.relay !== relay)
  }

  /** Marks a relay as dead: nobody waits for it to stop, not even if it dies while it is being stopped. */
  bury(relay: Relay): void {
    for (const entry of this.#relays) if (entry.relay === relay) entry.death.resolve()
  }

  /** Commits two events of each run, in one outbox row a run; if `beforeCommit` fails, nothing is committed. */
  async commit(runIds: readonly string[], beforeCommit: () => Promise<void> = async () => {}): Promise<void> {
    const entries = runIds.map((runId) => ({ tenantId: 'default', runId, events: [event(), event()] }))
    await this.database.transaction(async (tx) => {
      await appendEvents(tx, entries)
      await beforeCommit()
    })
    for (const { runId, events } of entries) {
      this.committed.set(runId, [...(this.committed.get(runId) ?? []), ...events.map(({ id }) => id)])
    }
  }

  async unpublished(): Promise<number> {
    const [row] = await this.database.query<{ rows: number }>(
      'select count(*)::int as rows from concordat.outbox where published_at is null',
    )
    return row?.rows ?? -1
  }

  async untilPublished(): Promise<void> {
    await expect.poll(() => this.unpublished(), { interval: 20 }).toBe(0)
  }

  /** How many partitions each owner has. */
  async shares(): Promise<number[]> {
    const rows = await this.database.query<{ partitions: number }>(
      `select count(*)::int as partitions from concordat.relay_partitions
        where expires_at > clock_timestamp() group by owner order by 1`,
    )
    return rows.map((row) => row.partitions)
  }

  /** What the relay promises, whatever happened. */
  async expectPromisesKept(): Promise<void> {
    const committed = [...this.committed.values()].flat()
    expect(new Set(this.delivered.map((event) => event.id)), 'all that was committed, and only that').toEqual(
      new Set(committed),
    )
    const placeOf = (event: EventEnvelope) => `${event.partition}:${event.position}`
    const places = new Map(this.delivered.map((event) => [event.id, placeOf(event)]))
    for (const event of this.delivered) expect(placeOf(event), 'a position that is kept').toBe(places.get(event.id))
    expect(new Set(places.values()).size, 'a position for each event').toBe(committed.length)
    for (let partition = 0; partition < 16; partition++) {
      const positions = new Set(this.delivered.filter((e) => e.partition === partition).map((e) => e.position))
      expect(
        [...positions].toSorted((a, b) => a - b),
        'no gap',
      ).toEqual(Array.from(positions, (_, i) => i + 1))
    }
    for (const [runId, ids] of this.committed) {
      const first = new Set(this.delivered.filter((event) => event.runId === runId).map((event) => event.id))
      expect([...first], 'the order of the run').toEqual(ids)
    }
    await this.#expectMarks(places)
  }

  async #expectMarks(places: ReadonlyMap<string, string>): Promise<void> {
    const rows = await this.database.query<{ partition: number; position: bigint; events: string }>(
      'select partition, position, events from concordat.outbox where published_at is not null',
    )
    for (const { partition, position, events } of rows) {
      for (const [i, { id }] of (JSON.parse(events) as RunEvent[]).entries()) {
        expect(places.get(id), 'the stored position').toBe(`${partition}:${Number(position) + i}`)
      }
    }
  }

  async close(): Promise<void> {
    for (const { relay, death } of this.#relays) await Promise.race([death.promise, relay.stop()])
    const databases = new Set([this.database, ...this.#relays.map(({ database }) => database)])
    await Promise.all([...databases].map((database) => database.close()))
    await this.#drop()
  }

  async #bus(treat: Treatment): Promise<Bus> {
    const deliver = (events: readonly EventEnvelope[]) => void this.delivered.push(...events)
    const bus = await createBus({ transport: 'memory', log: silentLogger })
    return {
      ...bus,
      publish: (outgoing) =>
        treat(
          outgoing.map(({ envelope }) => envelope),
          deliver,
        ),
    }
  }
}

function event(): RunEvent {
  return { id: newId(), type: 'run.started', time: new Date().toISOString(), data: { agent: 'triage' } }
}
