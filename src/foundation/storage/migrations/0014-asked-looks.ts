/** What a run's end leaves, and what says that it was left. Nothing of ours deletes from these tables. */
const KEPT = ['runs', 'incidents', 'policy_evaluations', 'traces', 'audit_acks']

export const UP: readonly string[] = [
  /*
   * Runs to be held against their contracts though their own rows do not say so, or are gone: a row that somebody has
   * deleted takes its due time along. Asked for by the deletion itself, so that nothing has to search for what is not there.
   */
  `create table concordat.audit_looks (
     tenant_id text collate "C" not null,
     run_id    uuid not null,
     asked_at  timestamptz not null default clock_timestamp(),
     due_at    timestamptz not null default clock_timestamp(),
     primary key (tenant_id, run_id)
   )`,
  'create index audit_looks_due on concordat.audit_looks (due_at)',
  `create function concordat.ask_for_looks() returns trigger language plpgsql as $$
   begin
     insert into concordat.audit_looks (tenant_id, run_id)
     select distinct tenant_id, run_id from gone order by tenant_id, run_id
     on conflict (tenant_id, run_id) do nothing;
     return null;
   end $$`,
  ...KEPT.map(
    (table) => `create trigger ${table}_deleted after delete on concordat.${table}
       referencing old table as gone for each statement execute function concordat.ask_for_looks()`,
  ),
]
