import type { Database, Tx } from './database.ts'

/** Reads everything as it is at one moment, however many statements that takes. Nothing can be written. */
export function snapshot<T>(database: Database, read: (tx: Tx) => Promise<T>): Promise<T> {
  return database.transaction(async (tx) => {
    await tx.query('set transaction isolation level repeatable read, read only')
    return read(tx)
  })
}
