import { type Kysely, sql } from 'kysely'

const UP = [
  // Whose budgets a run's steps move beside its own: those of the runs that wait for it, and of the key it came with.
  `alter table concordat.runs
     add column api_key_id text collate "C",
     add column ancestors jsonb`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of UP) await sql.raw(statement).execute(db)
}
