import { limits } from '../../limits.ts'
import type { Logger } from '../log.ts'
import type { Database } from './database.ts'
import { openEmbedded } from './pglite.ts'
import { openPostgres } from './postgres.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** Group commit needs few connections: two flushes of steps, one each of submissions, claims, completions, and reads. */
const POOL_MAX = 8

export interface DatabaseOptions {
  /** A PostgreSQL URL; absent means embedded. */
  readonly url?: string | undefined
  /** The embedded database's folder. */
  readonly dataDir: string
  readonly log: Logger
  readonly poolMax?: number
  /** See `PostgresOptions`; 10 s unless given. */
  readonly idleTransactionMs?: number
}

/** Opens PostgreSQL or the embedded database. `EMBEDDED_LOCKED` and `DATABASE_UNREACHABLE` say what to do. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { url, dataDir, log, poolMax = POOL_MAX, idleTransactionMs = limits.transactionIdleMs } = options
  if (!url) return openEmbedded({ dataDir })
  const database = openPostgres({ url, poolMax, log, connectTimeoutMs: CONNECT_TIMEOUT_MS, idleTransactionMs })
  try {
    await database.query('select 1')
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}
