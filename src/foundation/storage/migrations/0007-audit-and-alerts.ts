export const UP: readonly string[] = [
  // When a run is next held against its contract: the earliest moment at which something of it may be overdue, or a
  // little after its end. The sweep finds runs by this index alone.
  `alter table concordat.runs add column reconcile_due_at timestamptz`,
  `create index runs_reconcile_due on concordat.runs (reconcile_due_at) where reconcile_due_at is not null`,

  `alter table concordat.alerts
     add column domain          text collate "C" not null default 'audit',
     add column times           integer not null default 1,
     add column acknowledged_at timestamptz,
     add column acknowledged_by text,
     add column told            text check (told in ('firing', 'resolved')),
     add column told_at         timestamptz`,
  `create unique index alerts_id on concordat.alerts (alert_id)`,
  `create index alerts_open on concordat.alerts (raised_at) where state <> 'resolved'`,
  `create table concordat.alert_fatigue (
    tenant_id text collate "C" primary key,
    state     jsonb not null
  ) with (fillfactor = 50)`,
  `create table concordat.alert_silences (
    silence_id  uuid primary key,
    tenant_id   text collate "C",
    run_id      uuid,
    type        text,
    until       timestamptz not null,
    silenced_by text not null,
    created_at  timestamptz not null default clock_timestamp()
  )`,

  `create table concordat.subscriptions (
    tenant_id             text collate "C" not null,
    subscription_id       uuid not null unique,
    types                 text[] not null,
    url                   text not null,
    secret                text not null,
    previous_secret       text,
    previous_secret_until timestamptz,
    state                 text not null default 'enabled' check (state in ('enabled', 'disabled')),
    disabled_because      text,
    failing_since         timestamptz,
    created_at            timestamptz not null default clock_timestamp(),
    primary key (tenant_id, subscription_id)
  )`,
  // One message to one target, due until it has arrived or is given up.
  `create table concordat.deliveries (
    delivery_id uuid primary key,
    tenant_id   text collate "C" not null,
    run_id      uuid,
    target      text collate "C" not null,
    source_id   uuid not null,
    state       text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    payload     json not null,
    attempts    integer not null default 0,
    due_at      timestamptz not null,
    last_error  text,
    created_at  timestamptz not null default clock_timestamp(),
    ended_at    timestamptz,
    unique (source_id, target)
  )`,
  `create index deliveries_due on concordat.deliveries (target, due_at) where state = 'pending'`,
  `create index deliveries_ended on concordat.deliveries (ended_at) where ended_at is not null`,
]
