import type { EventEnvelope, EventType } from '../foundation/events/events.ts'
import { silentLogger } from '../foundation/log.ts'
import { type Database, IN_MEMORY, migrate, openDatabase, openEmbedded } from '../foundation/storage/storage.ts'
import { type Concordat, type ConcordatOptions, createConcordat } from '../runtime.ts'
import type { RunReport } from '../surface/library/library.ts'
import { HeardEvents } from './heard-events.ts'
import { SteeredDatabase } from './steered-database.ts'

export { type Interceptor, type PausePoint, type StatementCall, SteeredDatabase } from './steered-database.ts'

export interface TestRuntimeOptions extends Omit<ConcordatOptions, 'database' | 'processKind'> {
  /** A PostgreSQL to use; an embedded database in memory where it is left out. */
  readonly databaseUrl?: string | undefined
  /** From `embeddedSnapshot()`: an embedded database that is there in a fraction of the time. */
  readonly snapshot?: Blob | undefined
  /** False: nothing is executed before `start()`. */
  readonly started?: boolean
}

/** A run by its key, as a submitted run's handle is one. */
export interface RunRef {
  readonly tenantId: string
  readonly runId: string
}

/** Short, so that what waits for a lease ends soon, and long enough for a machine that is busy with other tests. */
const LEASE_MS = 2_000

/** A runtime for tests: what it does can be awaited, held and made to fail. */
export class TestRuntime {
  readonly concordat: Concordat
  /** The runtime's database, whose statements a test can hold or refuse. */
  readonly database: SteeredDatabase
  readonly #events: HeardEvents

  constructor(concordat: Concordat, database: SteeredDatabase, events: HeardEvents) {
    this.concordat = concordat
    this.database = database
    this.#events = events
  }

  get runs(): Concordat['runs'] {
    return this.concordat.runs
  }

  /** Waits until the run has ended, whoever ends it, and returns all that is known of it. */
  async ended({ tenantId, runId }: RunRef): Promise<RunReport> {
    await this.runs.result(tenantId, runId).catch(() => undefined)
    return this.runs.get(tenantId, runId)
  }

  /** Waits for the run's event of this type, published by this runtime. */
  heard(type: EventType, { runId }: Pick<RunRef, 'runId'>): Promise<EventEnvelope> {
    return this.#events.until(type, runId)
  }

  /** The run's events that this runtime has published so far, in order. */
  heardOf({ runId }: Pick<RunRef, 'runId'>): EventEnvelope[] {
    return this.#events.of(runId)
  }

  start(): Promise<void> {
    return this.concordat.start()
  }

  /** Stops everything and closes the database. */
  async close(): Promise<void> {
    await this.#events.close()
    await this.concordat.close()
  }
}

/**
 * A runtime on an in-memory database and bus, with profile STRICT, a lease of 2 s, no log and no patience for runs
 * that are still executing when it is closed. Reads nothing from the environment. Close it when done.
 *
 * @example
 * const runtime = await createTestRuntime({ agents: [triage] })
 * const run = await runtime.runs.submit({ tenant: 'default', agent: 'triage', input: { ticket: '…' } })
 * expect((await runtime.ended(run)).incident?.outcome).toBe('SUCCESS')
 * await runtime.close()
 */
export async function createTestRuntime(options: TestRuntimeOptions = {}): Promise<TestRuntime> {
  const { databaseUrl, snapshot, started = true, env = {}, log = silentLogger, config, ...definition } = options
  const opened: Database = databaseUrl
    ? await openDatabase({ url: databaseUrl, dataDir: IN_MEMORY, log })
    : await openEmbedded({ dataDir: IN_MEMORY, snapshot })
  const database = new SteeredDatabase(opened)
  try {
    const concordat = await createConcordat({
      ...definition,
      env,
      log,
      database,
      config: {
        databaseUrl,
        dataDir: IN_MEMORY,
        governanceProfile: 'STRICT',
        eventTransport: 'memory',
        leaseMs: LEASE_MS,
        drainTimeoutMs: 0,
        ...config,
      },
    })
    const events = new HeardEvents()
    await events.listen(concordat.bus)
    if (started) await concordat.start()
    return new TestRuntime(concordat, database, events)
  } catch (error) {
    await database.close()
    throw error
  }
}

/** An empty embedded database with its schema, to start others from: make it once and hand it to each runtime. */
export async function embeddedSnapshot(): Promise<Blob> {
  const database = await openEmbedded({ dataDir: IN_MEMORY })
  try {
    await migrate(database)
    return await database.dump()
  } finally {
    await database.close()
  }
}
