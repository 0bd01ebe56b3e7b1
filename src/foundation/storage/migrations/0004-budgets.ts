/*
 * The ledger counts use, whatever the limits are: one row for each subject, metric and period that some policy bounds.
 * It has what was settled and what is reserved, so that one row tells whether a step still fits. What a run has reserved
 * is one row for each row of the ledger, not one a step: a run is executed by one worker at a time, which knows which
 * step it is for, and a run that changes hands gives all of it back.
 */
export const UP: readonly string[] = [
  `create table concordat.budgets (
    tenant_id    text collate "C" not null,
    subject      text collate "C" not null,
    metric       text collate "C" not null,
    period       text collate "C" not null check (period in ('run', 'minute', 'hour', 'day', 'month')),
    period_start timestamptz not null,
    settled      bigint not null default 0 check (settled >= 0),
    reserved     bigint not null default 0 check (reserved >= 0),
    overrun      bigint not null default 0,
    estimated    bigint not null default 0,
    unrecorded   bigint not null default 0,
    uncosted     integer not null default 0,
    told         jsonb not null default '{}',
    primary key (tenant_id, subject, metric, period, period_start)
  ) with (fillfactor = 50)`,
  `create index budgets_minutes on concordat.budgets (period_start) where period = 'minute'`,

  `create table concordat.reservations (
    tenant_id    text collate "C" not null,
    run_id       uuid not null,
    subject      text collate "C" not null,
    metric       text collate "C" not null,
    period       text collate "C" not null,
    period_start timestamptz not null,
    holder       uuid not null,
    amount       bigint not null check (amount >= 0),
    reserved_at  timestamptz not null default clock_timestamp(),
    primary key (tenant_id, run_id, subject, metric, period, period_start)
  ) with (fillfactor = 50)`,
]
