import { type Kysely, sql } from 'kysely'

/*
 * A run's row here says that its use counts in that row of the ledger, from its first charge to its end, also while
 * nobody executes it and nothing is reserved: then nobody holds it.
 */
const UP = ['alter table concordat.reservations alter column holder drop not null']

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of UP) await sql.raw(statement).execute(db)
}
