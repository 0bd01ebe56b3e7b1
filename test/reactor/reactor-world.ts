import { EventReactor, type EventReactorOptions } from '../../src/flow/reactor/reactor.ts'
import { createRelay, type Relay } from '../../src/flow/relay/relay.ts'
import { type Bus, createBus } from '../../src/foundation/bus/bus.ts'
import { systemClock } from '../../src/foundation/clock.ts'
import { appendEvents, type EventEnvelope, type EventType } from '../../src/foundation/events/events.ts'
import { createIdSource } from '../../src/foundation/ids.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { type Database, migrate, openDatabase } from '../../src/foundation/storage/storage.ts'
import { until } from '../flow/support/until.ts'
import { createDatabase, type PostgresServer } from '../support/servers.ts'

export const newId = createIdSource()

export type OpenBus = (database: Database) => Promise<Bus>

/** How each transport is opened; a transport within one process is opened once. */
export const transports: Readonly<Record<string, (redisUrl: string, prefix: string) => OpenBus>> = {
  memory: () => {
    const bus = createBus({ transport: 'memory', log: silentLogger })
    return () => bus
  },
  postgres: () => (database) => createBus({ transport: 'postgres', database, log: silentLogger }),
  'redis-pubsub': (url, prefix) => () =>
    createBus({ transport: 'redis-pubsub', url, channel: `${prefix}.events`, log: silentLogger }),
  'redis-streams': (url, prefix) => () =>
    createBus({
      transport: 'redis-streams',
      url,
      channel: `${prefix}.events`,
      streamPrefix: `${prefix}:events:`,
      log: silentLogger,
    }),
}

/** A database with a relay on it, and reactors, each with connections of its own as a process has. */
export class ReactorWorld {
  readonly database: Database
  readonly metrics = createMetrics()
  readonly #open: () => Promise<Database>
  readonly #drop: () => Promise<void>
  readonly #openBus: OpenBus
  readonly #closing: (() => Promise<unknown>)[] = []
  relay!: Relay

  private constructor(database: Database, open: () => Promise<Database>, drop: () => Promise<void>, openBus: OpenBus) {
    this.database = database
    this.#open = open
    this.#drop = drop
    this.#openBus = openBus
  }

  static async open(server: PostgresServer, openBus: OpenBus): Promise<ReactorWorld> {
    const { url, drop } = await createDatabase(server)
    return ReactorWorld.at(url, openBus, drop)
  }

  /** On a new database; it is not dropped in the end unless `drop` does. */
  static async at(url: string, openBus: OpenBus, drop: () => Promise<void> = async () => {}): Promise<ReactorWorld> {
    const open = () => openDatabase({ url, dataDir: '', log: silentLogger })
    const database = await open()
    await migrate(database)
    await database.query(
      'create table effects (handler text, run_id uuid, event_id uuid, n bigint generated always as identity)',
    )
    const world = new ReactorWorld(database, open, drop, openBus)
    const bus = await openBus(database)
    await bus.start()
    world.relay = createRelay({ ...world.#ground(database), bus, ownerId: newId(), leaseMs: 1_000 })
    await world.relay.start()
    world.#closing.push(
      () => bus.stop(),
      () => world.relay.stop(),
    )
    return world
  }

  /** A reactor that is not started yet. */
  async reactor(options: Partial<EventReactorOptions> = {}): Promise<EventReactor> {
    const database = await this.#open()
    const bus = await this.#openBus(database)
    await bus.start()
    const reactor = new EventReactor({
      ...this.#ground(database),
      bus,
      newId,
      process: 'test',
      leaseMs: 5_000,
      drainTimeoutMs: 2_000,
      heartbeatIntervalMs: 30_000,
      heartbeatMissThreshold: 3,
      ...options,
    })
    this.#closing.push(
      () => database.close(),
      () => bus.stop(),
      () => reactor.stop(),
    )
    return reactor
  }

  /** Commits an event of this type for each run, in one outbox row a run. Returns their ids in order. */
  async commit(runIds: readonly string[], types: readonly EventType[] = ['run.started']): Promise<string[]> {
    const entries = runIds.map((runId) => ({
      tenantId: 'default',
      runId,
      events: types.map((type) => ({ id: newId(), type, time: new Date().toISOString(), data: { agent: 'triage' } })),
    }))
    await this.database.transaction((tx) => appendEvents(tx, entries))
    this.relay.nudge()
    return entries.flatMap(({ events }) => events.map(({ id }) => id))
  }

  /** What handlers have written, one handler or all, in order. */
  async effects(handler: string | null = null): Promise<{ runId: string; eventId: string }[]> {
    return this.database.query(
      'select run_id as "runId", event_id as "eventId" from effects where $1::text is null or handler = $1 order by n',
      [handler],
    )
  }

  async countEffects(): Promise<number> {
    const [row] = await this.database.query<{ count: number }>('select count(*)::int as count from effects')
    return row?.count ?? 0
  }

  async deadLetters(): Promise<
    { handler: string | null; runId: string | null; attempts: number; cause: string; envelope: string }[]
  > {
    return this.database.query(
      `select handler, run_id as "runId", attempts, cause::text, envelope from concordat.dead_letters order by dead_letter_id`,
    )
  }

  async close(): Promise<void> {
    for (const close of this.#closing.toReversed()) await close()
    await this.database.close()
    await this.#drop()
  }

  #ground(database: Database) {
    return { database, clock: systemClock, log: silentLogger, metrics: this.metrics, random: Math.random }
  }
}

/** A handler that keeps what it hears. */
export function hearing() {
  const heard: EventEnvelope[] = []
  return { heard, handle: (event: EventEnvelope) => void heard.push(event), ids: () => heard.map((event) => event.id) }
}

export async function untilHeard(heard: { length: number }, count: number): Promise<void> {
  await until(
    () => heard.length,
    (length) => length >= count,
  )
}
