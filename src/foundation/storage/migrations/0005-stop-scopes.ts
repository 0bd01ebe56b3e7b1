/*
 * Runs that have not ended are found by what they do now: those that execute by `runs_held`, those that can be claimed by
 * `runs_ready`, all others by these two. A run that executes from its claim to its end is never in them, so they cost
 * the common run nothing. A child is found by its parent.
 */
export const UP: readonly string[] = [
  `alter table concordat.tenants add column suspension jsonb`,
  `create index tenants_suspended on concordat.tenants (tenant_id) where status = 'suspended'`,

  `alter table concordat.runs
     add column parent_run_id uuid,
     add column parent_step_key text collate "C",
     add column root_run_id uuid,
     add column depth smallint not null default 0,
     add constraint runs_lineage check ((parent_run_id is null) = (depth = 0))`,
  `create index runs_waiting on concordat.runs (tenant_id, agent, run_id) where phase = 'EXECUTING' and worker_id is null`,
  `create index runs_scheduled on concordat.runs (tenant_id, agent, run_id)
     where phase in ('CREATED', 'AUTHORIZED') and ready_at is null`,
  `create index runs_children on concordat.runs (tenant_id, parent_run_id, run_id) where parent_run_id is not null`,
  `create index runs_open_children on concordat.runs (tenant_id, parent_run_id)
     where parent_run_id is not null and phase in ('CREATED', 'AUTHORIZED', 'EXECUTING')`,
]
