export const UP: readonly string[] = [
  // When a tenant's policies changed last: who started later than that runs under what is in force.
  'alter table concordat.tenants add column policies_changed_at timestamptz',
  `create or replace function concordat.policies_changed() returns trigger language plpgsql as $$
    begin
      update concordat.tenants set policies_version = policies_version + 1, policies_changed_at = clock_timestamp()
       where tenant_id in (select tenant_id from changed);
      return null;
    end $$`,

  // What stood against a run's next step, kept before anybody acts on it; a row a kind, however often it is met.
  `create table concordat.policy_violations (
    tenant_id     text collate "C" not null,
    run_id        uuid not null,
    violation_key text collate "C" not null,
    violation     jsonb not null,
    met_at        timestamptz not null,
    primary key (tenant_id, run_id, violation_key)
  )`,
]
