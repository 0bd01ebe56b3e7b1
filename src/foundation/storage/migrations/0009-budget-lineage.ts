export const UP: readonly string[] = [
  // Whose budgets a run's steps move beside its own: those of the runs that wait for it, and of the key it came with.
  `alter table concordat.runs
     add column api_key_id text collate "C",
     add column ancestors jsonb`,

  // Of the amount: what somebody has approved beyond a limit, an overrun of its row for as long as it is held.
  'alter table concordat.reservations add column approved bigint not null default 0',

  // A limit's subjects in one period, and rows that are long past.
  'create index budgets_of_period on concordat.budgets (tenant_id, metric, period, period_start, subject)',
  'drop index concordat.budgets_minutes',
  `create index budgets_past on concordat.budgets (period, period_start) where period in ('minute', 'hour')`,
]
