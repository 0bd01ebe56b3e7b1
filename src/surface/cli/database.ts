import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../../config.ts'
import { type Database, openDatabase } from '../../foundation/storage/storage.ts'
import { commandLog } from './session.ts'
import type { Terminal } from './terminal.ts'

/** False for an embedded database that was never opened: looking at it would create it. */
export function databaseExists({ storage, dataDir }: Config): boolean {
  return storage === 'postgres' || existsSync(join(dataDir, 'pgdata', 'PG_VERSION'))
}

/** Opens the database as it is, without migrating it. */
export async function withDatabase<T>(
  terminal: Terminal,
  config: Config,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const { databaseUrl: url, dataDir } = config
  const database = await openDatabase({ url, dataDir, log: commandLog(terminal, config) })
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}
