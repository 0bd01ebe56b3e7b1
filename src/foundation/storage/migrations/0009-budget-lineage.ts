import { type Kysely, sql } from 'kysely'

const UP = [
  // Whose budgets a run's steps move beside its own: those of the runs that wait for it, and of the key it came with.
  `alter table concordat.runs
     add column api_key_id text collate "C",
     add column ancestors jsonb`,

  // Of the amount: what somebody has approved beyond a limit, an overrun of its row for as long as it is held.
  'alter table concordat.reservations add column approved bigint not null default 0',
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of UP) await sql.raw(statement).execute(db)
}
