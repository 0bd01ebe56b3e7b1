/*
 * A group of reactors shares the partitions. What a handler has done is one row a partition; rows per event are only
 * there for what has failed.
 */
export const UP: readonly string[] = [
  // A process that handles events, with its heartbeat. `handlers`: only one that has all handlers may hold partitions.
  `create table concordat.reactor_members (
    member_id     uuid primary key,
    reactor_group text collate "C" not null,
    process       text not null,
    handlers      text[] not null,
    started_at    timestamptz not null default clock_timestamp(),
    heartbeat_at  timestamptz not null default clock_timestamp(),
    expires_at    timestamptz not null
  ) with (fillfactor = 50)`,
  `create table concordat.reactor_partitions (
    reactor_group text collate "C" not null,
    partition     smallint not null,
    owner         uuid,
    lease_token   integer not null default 0,
    expires_at    timestamptz,
    primary key (reactor_group, partition)
  ) with (fillfactor = 50)`,
  // All events of the partition up to the position are handled, or are rows of reactor_retries or dead_letters.
  `create table concordat.reactor_checkpoints (
    reactor_group text collate "C" not null,
    handler       text collate "C" not null,
    partition     smallint not null,
    position      bigint not null,
    seen_at       timestamptz not null default clock_timestamp(),
    primary key (reactor_group, handler, partition)
  ) with (fillfactor = 50)`,
  // Events that a handler failed on and gets again, and the later ones of the same run, which wait for them.
  `create table concordat.reactor_retries (
    reactor_group text collate "C" not null,
    handler       text collate "C" not null,
    partition     smallint not null,
    position      bigint not null,
    tenant_id     text collate "C" not null,
    run_id        uuid not null,
    attempts      smallint not null default 0,
    due_at        timestamptz not null default clock_timestamp(),
    cause         json,
    event         json not null,
    primary key (reactor_group, handler, partition, position)
  )`,
  // What was given up: an event with its handler, or a message that is no event, without handler, tenant and run.
  `create table concordat.dead_letters (
    dead_letter_id bigint primary key generated always as identity,
    tenant_id      text collate "C",
    run_id         uuid,
    reactor_group  text collate "C" not null,
    handler        text collate "C",
    partition      smallint,
    position       bigint,
    attempts       smallint not null,
    cause          json not null,
    envelope       text not null,
    created_at     timestamptz not null default clock_timestamp()
  )`,
  // What is wrong with a part of Concordat itself; the incidents of runs have a table of their own.
  `create table concordat.system_incidents (
    incident_id uuid primary key,
    component   text collate "C" not null,
    subject     text not null,
    reason      text not null,
    message     text not null,
    status      text not null default 'open' check (status in ('open', 'closed')),
    created_at  timestamptz not null default clock_timestamp(),
    closed_at   timestamptz
  )`,
  `create unique index system_incidents_open on concordat.system_incidents (component, subject) where status = 'open'`,
  `create index dead_letters_of_handler on concordat.dead_letters (reactor_group, handler, dead_letter_id)`,
]
