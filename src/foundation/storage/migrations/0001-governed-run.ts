import { STALE_STATE } from '../errors.ts'

/*
 * Row count and index count are the cost of a run, so: one row a run with its contract and transitions inside, one row
 * a step that is checkpoint and trace, one outbox row a commit. Keys lead with tenant_id. Payloads are `json` text in
 * columns of their own (`jsonb` refuses NUL), which lists never read. Keys compare by bytes (collation "C"): cheaper than
 * by a language's rules, and the same order on every machine.
 */
export const UP: readonly string[] = [
  // Ends a statement, and with it the transaction, that changed another number of rows than its caller knows it must.
  `create function concordat.require_rows(changed bigint, expected bigint, what text) returns void
    language plpgsql as $$
    begin
      if changed <> expected then
        raise exception '% of % % are as they were known', changed, expected, what using errcode = '${STALE_STATE}';
      end if;
    end $$`,

  // RFC 9562, version 7; the ids that the application makes are such. PostgreSQL has its own from 18 on.
  `create function concordat.uuid_v7(at timestamptz) returns uuid language sql as $$
    select (overlay(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') placing '-' from 9 for 0)
            || '-7' || substr(gen_random_uuid()::text, 16))::uuid
    $$`,

  `create table concordat.tenants (
    tenant_id      text collate "C" primary key,
    status         text not null default 'active' check (status in ('active', 'suspended')),
    max_running    integer check (max_running > 0),
    allowed_agents text[],
    policies_version bigint not null default 0,
    created_at     timestamptz not null default now()
  )`,
  `create index tenants_limited on concordat.tenants (tenant_id) where max_running is not null`,
  `insert into concordat.tenants (tenant_id) values ('default')`,

  // An agent belongs to the tenant that offers it; those from configuration belong to 'default' and serve all tenants.
  `create table concordat.agents (
    tenant_id     text collate "C" not null default 'default',
    agent         text collate "C" not null,
    version       text collate "C" not null,
    digest        text collate "C" not null,
    kind          text not null,
    input_schema  json,
    max_running   integer,
    registered_at timestamptz not null default now(),
    primary key (tenant_id, agent, version, digest)
  )`,

  // Liveness is one row per worker. A row that is gone fences every write of that worker.
  `create table concordat.workers (
    worker_id    uuid primary key,
    process      text not null,
    concurrency  integer not null,
    lease_ms     integer not null,
    started_at   timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp(),
    expires_at   timestamptz not null
  ) with (fillfactor = 50)`,

  `create table concordat.runs (
    tenant_id            text collate "C" not null,
    run_id               uuid not null,
    agent                text collate "C" not null,
    agent_version        text collate "C" not null,
    agent_digest         text collate "C" not null,
    phase                text not null check (phase in
                           ('CREATED', 'AUTHORIZED', 'EXECUTING', 'GOVERNANCE_CHECK', 'FINALIZING', 'COMPLETED', 'FAILED')),
    outcome              text check (outcome in ('succeeded', 'failed', 'failed_policy', 'cancelled')),
    paused               boolean not null default false,
    status               text not null generated always as (
                           case
                             when phase in ('COMPLETED', 'FAILED') then outcome
                             when phase in ('CREATED', 'AUTHORIZED') then 'queued'
                             when paused then 'paused'
                             else 'running'
                           end) stored,
    waiting              text check (waiting in ('RETRY', 'TIMER', 'CHILD', 'SIGNAL', 'LEASE')),
    reason               text,
    priority             smallint not null default 0,
    ready_at             timestamptz,
    due_at               timestamptz,
    worker_id            uuid,
    lease_token          integer not null default 0,
    worker_losses        smallint not null default 0,
    timeout_ms           bigint not null,
    active_ms            bigint not null default 0,
    active_since         timestamptz,
    execution_started_at timestamptz,
    execution_ended_at   timestamptz,
    stop                 jsonb,
    pending              json,
    transitions          jsonb not null,
    expectations         jsonb not null,
    observability        text not null default 'FULL',
    step_count           integer not null default 0,
    failed_steps         integer not null default 0,
    trace_gaps           integer not null default 0,
    tokens_in            bigint,
    tokens_out           bigint,
    cost_nano_usd        bigint,
    idempotency_key      text collate "C",
    request_digest       text not null,
    created_at           timestamptz not null default now(),
    ended_at             timestamptz,
    input                json not null,
    input_size           integer not null,
    input_digest         text not null,
    output               json,
    output_size          integer,
    output_digest        text,
    error                json,
    metadata             json,
    primary key (tenant_id, run_id),
    check ((phase in ('COMPLETED', 'FAILED')) = (outcome is not null)),
    check ((phase = 'COMPLETED') <= (outcome = 'succeeded'))
  )`,
  `create unique index runs_idempotency on concordat.runs (tenant_id, idempotency_key) where idempotency_key is not null`,
  // The queue. A lane is one agent version of one tenant; claiming walks lanes, so a flood in one is never read by others.
  `create index runs_ready on concordat.runs (tenant_id, agent, agent_version, agent_digest, priority desc, ready_at, run_id)
     where ready_at is not null`,
  `create index runs_due on concordat.runs (due_at) where due_at is not null`,
  `create index runs_held on concordat.runs (tenant_id, agent, worker_id) where worker_id is not null`,

  `create table concordat.steps (
    tenant_id     text collate "C" not null,
    run_id        uuid not null,
    step_key      text collate "C" not null,
    seq           integer not null,
    kind          text not null,
    name          text collate "C" not null,
    status        text not null check (status in ('started', 'waiting', 'succeeded', 'failed')),
    attempt       smallint not null default 1,
    due_at        timestamptz,
    started_at    timestamptz not null,
    ended_at      timestamptz,
    latency_ms    double precision,
    tokens_in     bigint,
    tokens_out    bigint,
    cost_nano_usd bigint,
    input_digest  text not null,
    input_size    integer,
    output_size   integer,
    output_digest text,
    trace_gap     text,
    output        json,
    error         json,
    input         json,
    attributes    json,
    primary key (tenant_id, run_id, step_key)
  )`,

  `create table concordat.incidents (
    tenant_id   text collate "C" not null,
    run_id      uuid not null,
    incident_id uuid not null,
    outcome     text not null check (outcome in ('SUCCESS', 'PARTIAL', 'FAILURE', 'BLOCKED')),
    status      text not null check (status in ('open', 'closed')),
    severity    text not null,
    reason      text,
    message     text,
    created_at  timestamptz not null,
    primary key (tenant_id, run_id)
  )`,

  `create table concordat.policies (
    tenant_id  text collate "C" not null,
    name       text collate "C" not null,
    version    integer not null,
    active     boolean not null,
    enabled    boolean not null,
    definition jsonb not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    primary key (tenant_id, name, version),
    check (active = (retired_at is null))
  )`,
  `create unique index policies_active on concordat.policies (tenant_id, name) where active`,
  // Whoever changes a tenant's policies, by whatever statement: who knows them by their version learns of it.
  `create function concordat.policies_changed() returns trigger language plpgsql as $$
    begin
      update concordat.tenants set policies_version = policies_version + 1
       where tenant_id in (select tenant_id from changed);
      return null;
    end $$`,
  ...['insert', 'update', 'delete'].map(
    (change) => `create trigger policies_${change} after ${change} on concordat.policies
      referencing ${change === 'delete' ? 'old' : 'new'} table as changed
      for each statement execute function concordat.policies_changed()`,
  ),
  `create table concordat.policy_evaluations (
    tenant_id     text collate "C" not null,
    run_id        uuid not null,
    evaluation_id uuid not null,
    outcome       text not null check (outcome in ('NOT_APPLICABLE', 'NO_VIOLATION', 'ADVISORY', 'VIOLATION')),
    policies      jsonb not null,
    violations    jsonb not null,
    evaluated_at  timestamptz not null,
    primary key (tenant_id, run_id)
  )`,

  `create table concordat.traces (
    tenant_id    text collate "C" not null,
    run_id       uuid not null,
    trace_id     text not null,
    started_at   timestamptz not null,
    started_late boolean not null default false,
    ending       text check (ending in ('COMPLETE', 'ABORTED')),
    ended_at     timestamptz,
    step_count   integer,
    gap_count    integer,
    primary key (tenant_id, run_id)
  ) with (fillfactor = 60)`,

  `create table concordat.audit_acks (
    tenant_id text collate "C" not null,
    run_id    uuid not null,
    ack_id    bigint not null generated always as identity,
    domain    text collate "C" not null,
    action    text collate "C" not null,
    attempt   integer not null,
    status    text not null check (status in ('SUCCESS', 'FAILED', 'ROLLED_BACK')),
    result_id text,
    error     text,
    acked_at  timestamptz not null,
    primary key (tenant_id, run_id, ack_id)
  )`,
  `create table concordat.reconciliations (
    tenant_id     text collate "C" not null,
    run_id        uuid not null,
    result        text not null check (result in ('COMPLETE', 'INCOMPLETE', 'STALE')),
    findings      jsonb not null,
    reconciled_at timestamptz not null,
    primary key (tenant_id, run_id)
  )`,

  `create table concordat.lessons (
    tenant_id  text collate "C" not null,
    run_id     uuid not null,
    kind       text not null check (kind in ('NEAR_THRESHOLD', 'EFFICIENT_SUCCESS')),
    policy     text not null,
    agent      text collate "C" not null,
    detail     jsonb not null,
    created_at timestamptz not null,
    primary key (tenant_id, run_id, kind, policy)
  )`,

  `create table concordat.alerts (
    tenant_id   text collate "C" not null,
    run_id      uuid not null,
    type        text not null,
    subject     text not null,
    alert_id    uuid not null,
    severity    text not null,
    state       text not null check (state in ('firing', 'acknowledged', 'resolved')),
    message     text not null,
    raised_at   timestamptz not null,
    resolved_at timestamptz,
    primary key (tenant_id, run_id, type, subject)
  )`,

  // One row carries the events of one commit; the relay takes them apart and gives each its position.
  `create table concordat.outbox (
    tenant_id    text collate "C" not null,
    run_id       uuid not null,
    outbox_id    bigint not null generated always as identity,
    partition    smallint not null,
    event_count  smallint not null,
    events       json not null,
    created_at   timestamptz not null default now(),
    position     bigint,
    published_at timestamptz,
    primary key (tenant_id, run_id, outbox_id)
  ) with (fillfactor = 80)`,
  `create index outbox_unpublished on concordat.outbox (partition, outbox_id) where published_at is null`,
  `create index outbox_positions on concordat.outbox (partition, position) where position is not null`,
  `create table concordat.relay_partitions (
    partition     smallint primary key,
    owner         uuid,
    lease_token   integer not null default 0,
    expires_at    timestamptz,
    next_position bigint not null default 1,
    in_flight     bigint[] not null default '{}'
  ) with (fillfactor = 50)`,
  `insert into concordat.relay_partitions (partition) select generate_series(0, 15)`,

  // What a participant is about to do outside this database, stored before it acts.
  `create table concordat.participant_intents (
    tenant_id   text collate "C" not null,
    run_id      uuid not null,
    attempt     integer not null,
    participant text not null,
    state       text not null check (state in ('intended', 'settled', 'compensating', 'compensated')),
    detail      json,
    created_at  timestamptz not null default clock_timestamp(),
    due_at      timestamptz not null,
    primary key (tenant_id, run_id, attempt, participant)
  )`,
  `create index participant_intents_due on concordat.participant_intents (due_at) where state in ('intended', 'compensating')`,
]
