import { type Kysely, sql } from 'kysely'

const UP = [
  // When a run is next held against its contract: the earliest moment at which something of it may be overdue, or a
  // little after its end. The sweep finds runs by this index alone.
  `alter table concordat.runs add column reconcile_due_at timestamptz`,
  `create index runs_reconcile_due on concordat.runs (reconcile_due_at) where reconcile_due_at is not null`,

  `alter table concordat.alerts
     add column domain          text collate "C" not null default 'audit',
     add column times           integer not null default 1,
     add column acknowledged_at timestamptz,
     add column acknowledged_by text`,
  `create unique index alerts_id on concordat.alerts (alert_id)`,
  `create index alerts_open on concordat.alerts (raised_at) where state <> 'resolved'`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of UP) await sql.raw(statement).execute(db)
}
