import { allowIdle } from './allow-idle.ts'
import { type Database, LastFlight, type Tx } from './database.ts'

export interface Work {
  /** The transaction begins with its first statement. */
  readonly write: (tx: Tx) => Promise<void>
  /** The statement that the commit travels with. */
  readonly last: (tx: Tx) => Promise<void>
  /** How long `write` may take without a statement, in milliseconds. */
  readonly idleMsMax: number
}

/**
 * A transaction for work that mostly writes nothing: without a statement there is none, and `last` is left out. Resolves
 * to whether there was one; rejects, with everything rolled back, as `Database.transaction` does.
 */
export async function transactionWhenUsed(database: Database, { write, last, idleMsMax }: Work): Promise<boolean> {
  const begun = Promise.withResolvers<Tx>()
  const written = Promise.withResolvers<void>()
  let transaction: Promise<void> | undefined
  const begin = (): Promise<Tx> => {
    transaction ??= database.transaction(async (tx) => {
      allowIdle(tx, idleMsMax).catch(() => undefined) // the statement behind it tells
      begun.resolve(tx)
      await written.promise
      return new LastFlight(last(tx))
    })
    transaction.catch(begun.reject)
    return begun.promise
  }
  const lazy: Tx = { query: async (sql, values) => (await begin()).query(sql, values) }
  write(lazy).then(written.resolve, written.reject)
  try {
    await written.promise
  } finally {
    await transaction
  }
  return transaction !== undefined
}
