import { type Kysely, sql } from 'kysely'

// Readers find an event by the position of its row's first one, not more than so many before it.
const UP = [`alter table concordat.outbox add check (event_count between 1 and 100)`]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of UP) await sql.raw(statement).execute(db)
}
