import { EventEmitter } from 'node:events'
import type { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import type { Database } from './database.ts'
import { folderError, lockFolder } from './folder-lock.ts'
import { PoolDatabase } from './pool-database.ts'
import { SESSION_SETTINGS } from './session-settings.ts'
import { typeParsers } from './type-parsers.ts'

/** Waiting longer than this for the one session means that a transaction waits for itself: an error, not a hang. */
const SESSION_TIMEOUT_MS = 60_000

/** In memory only: for tests. */
export const IN_MEMORY = 'memory://'

export interface EmbeddedOptions {
  /** Its folder, or `IN_MEMORY`. */
  readonly dataDir: string
  /** What `dump` returned: the new database starts with all that was in that one, and in a fraction of the time. */
  readonly snapshot?: Blob | undefined
  /** How long a statement waits for the one session; 60 s unless given. */
  readonly sessionTimeoutMs?: number
}

export interface EmbeddedDatabase extends Database {
  /** A copy of everything in it. No statement may be under way. */
  dump(): Promise<Blob>
}

/**
 * The embedded database: PostgreSQL compiled to WASM, in this process, with one session.
 * It survives kill -9; it does not fsync, so it promises nothing about power loss. Fails with `EMBEDDED_LOCKED`
 * when another process has the folder open, and with `INVALID_CONFIGURATION` when it can't be used.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { dataDir, snapshot, sessionTimeoutMs = SESSION_TIMEOUT_MS } = options
  const inMemory = dataDir === IN_MEMORY
  // Loaded here: who has a PostgreSQL needs neither.
  const { PGlite } = await import('@electric-sql/pglite')
  const { createPgConfig } = await import('@electric-sql/pglite/node-postgres')
  const unlock = inMemory ? async () => undefined : await lockFolder(dataDir)
  let lite: PGlite
  try {
    lite = await PGlite.create({
      dataDir: inMemory ? IN_MEMORY : `${dataDir}/pgdata`,
      ...(snapshot && { loadDataDir: snapshot }),
    })
  } catch (error) {
    await unlock()
    throw folderError(dataDir, error)
  }
  await lite.exec(SESSION_SETTINGS)
  const config = createPgConfig(lite)
  const pool = new pg.Pool({
    ...config,
    connection: config.connection,
    max: 1,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: sessionTimeoutMs,
    types: typeParsers,
    pipeline: true,
  } as pg.PoolConfig)
  const database = new PoolDatabase(pool)
  // LISTEN through this bridge hears only its own session; every process part is in this process anyway.
  const bus = new EventEmitter().setMaxListeners(0)
  return {
    kind: 'embedded',
    query: (sql, values) => database.query(sql, values),
    transaction: (work) => database.transaction(work),
    notify: async (channel, payload) => {
      bus.emit(channel, payload)
    },
    listen: async (channel, hear) => {
      bus.on(channel, hear)
      return async () => {
        bus.off(channel, hear)
      }
    },
    dump: () => lite.dumpDataDir('none'),
    close: async () => {
      await pool.end()
      await lite.close()
      await unlock()
    },
  }
}
