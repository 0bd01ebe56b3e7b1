export const UP: readonly string[] = [
  // Counts arrivals: who releases a run names the count that it has seen, so that no signal slips in between.
  `alter table concordat.runs add column signal_count integer not null default 0`,

  // What a step waits for. The schema is kept here because a step's input belongs to its trace, which may be missing.
  `create table concordat.waits (
    tenant_id  text collate "C" not null,
    run_id     uuid not null,
    step_key   text collate "C" not null,
    name       text collate "C" not null,
    occurrence integer not null,
    schema     json,
    due_at     timestamptz not null,
    timed_out  boolean not null default false,
    primary key (tenant_id, run_id, step_key)
  )`,

  // In the order in which they came. One that no step waits for yet is kept; one that a step got names its key.
  `create table concordat.signals (
    tenant_id      text collate "C" not null,
    run_id         uuid not null,
    number         integer not null,
    signal_id      text collate "C" not null,
    name           text collate "C" not null,
    state          text not null check (state in ('kept', 'delivered', 'refused')),
    step_key       text collate "C",
    sent_by        text not null,
    received_at    timestamptz not null,
    refusal        text,
    payload_digest text not null,
    payload_size   integer not null,
    payload        json not null,
    primary key (tenant_id, run_id, number),
    check (state = 'kept' or step_key is not null)
  )`,
  `create unique index signals_id on concordat.signals (tenant_id, run_id, signal_id)`,
  // A signal answers one step, and a step gets one.
  `create unique index signals_delivered on concordat.signals (tenant_id, run_id, step_key) where state = 'delivered'`,

  // What somebody is asked before a step runs. `digest` is that of the exact action, which `action` shows.
  `create table concordat.approvals (
    tenant_id    text collate "C" not null,
    run_id       uuid not null,
    approval_id  uuid not null,
    step_key     text collate "C" not null,
    purpose      text not null check (purpose in ('ACTION', 'REPEAT')),
    agent        text collate "C" not null,
    state        text not null check (state in ('pending', 'approved', 'rejected', 'expired', 'cancelled', 'consumed')),
    digest       text not null,
    message      text not null,
    approvers    text[] not null,
    policy       text,
    requested_at timestamptz not null,
    expires_at   timestamptz,
    decided_at   timestamptz,
    decided_by   text,
    decided_as   text,
    note         text,
    consumed_at  timestamptz,
    consumed_under integer,
    action       json not null,
    primary key (tenant_id, run_id, approval_id),
    check ((decided_by is not null) = (state in ('approved', 'rejected', 'consumed') or (state = 'expired' and decided_at is not null)))
  )`,
  `create unique index approvals_id on concordat.approvals (tenant_id, approval_id)`,
  `create unique index approvals_open on concordat.approvals (tenant_id, run_id, step_key) where state in ('pending', 'approved')`,
]
