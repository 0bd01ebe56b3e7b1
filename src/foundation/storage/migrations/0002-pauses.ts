/*
 * One row a pause; a run has at most one that is open. What the lists and the sweep ask is in the run's own row: that it
 * is paused, and with `due_at` when something is to be done about it.
 */
export const UP: readonly string[] = [
  `create table concordat.pauses (
    tenant_id    text collate "C" not null,
    run_id       uuid not null,
    pause_id     uuid not null,
    reason       text not null check (reason in
                   ('POLICY_CHANGE', 'BUDGET_WARNING', 'APPROVAL_REQUIRED', 'INPUT_REQUIRED', 'RATE_LIMIT_SOFT', 'MANUAL_PAUSE')),
    message      text not null,
    detail       json,
    approvers    text[],
    paused_by    text not null,
    paused_as    text not null,
    paused_at    timestamptz not null,
    warn_at      timestamptz,
    timeout_at   timestamptz not null,
    on_timeout   text not null check (on_timeout in ('TERMINATE', 'CONTINUE', 'ESCALATE')),
    resume_at    timestamptz,
    warned_at    timestamptz,
    escalated_at timestamptz,
    refusals     jsonb not null default '[]',
    ended_at     timestamptz,
    ended_how    text check (ended_how in ('RESUMED', 'STOPPED', 'TIMED_OUT')),
    resumed_by   text,
    resumed_as   text,
    note         text,
    primary key (tenant_id, run_id, pause_id),
    check ((ended_at is null) = (ended_how is null)),
    check ((ended_how = 'RESUMED') = (resumed_by is not null))
  )`,
  `create unique index pauses_open on concordat.pauses (tenant_id, run_id) where ended_at is null`,

  // What was asked of a run and waits for its next step or its claim: { pauseId, requestedAt, by, as, why }.
  `alter table concordat.runs add column pause_request jsonb`,
  // Since when the run goes by other policies than those of its start: a person resumed it then.
  `alter table concordat.runs add column policies_as_of timestamptz`,
  `create index runs_paused on concordat.runs (due_at) where paused`,
]
