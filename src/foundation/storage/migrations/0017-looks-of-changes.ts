import { OWN_SESSION_SQL } from '../session-settings.ts'

/*
 * What somebody else adds, changes or truncates asks for a look too. Our own sessions write all day, so that their
 * statements must not pay for it: these triggers are of rows, whose condition is held against each before anything else is
 * done, and have no tables of changed rows, which would be filled whatever the condition says.
 */
const KEPT = [
  ['incidents', ''],
  ['policy_evaluations', ''],
  ['traces', ''],
  ['audit_acks', ''],
  ['runs', ' of tenant_id, run_id, contract_id, phase, outcome'],
] as const

/** Sooner than a look that was put off. */
const ASK = `on conflict (tenant_id, run_id) do update set due_at = excluded.due_at
             where look.due_at > excluded.due_at`

export const UP: readonly string[] = [
  `create or replace function concordat.ask_for_looks() returns trigger language plpgsql as $$
   begin
     insert into concordat.audit_looks as look (tenant_id, run_id)
     select distinct tenant_id, run_id from gone order by tenant_id, run_id ${ASK};
     return null;
   end $$`,
  `create function concordat.ask_for_look() returns trigger language plpgsql as $$
   begin
     insert into concordat.audit_looks as look (tenant_id, run_id) values (new.tenant_id, new.run_id) ${ASK};
     if tg_op = 'UPDATE' and (old.tenant_id, old.run_id) is distinct from (new.tenant_id, new.run_id) then
       insert into concordat.audit_looks as look (tenant_id, run_id) values (old.tenant_id, old.run_id) ${ASK};
     end if;
     return null;
   end $$`,
  ...KEPT.map(
    ([table, columns]) => `create trigger ${table}_changed after insert or update${columns} on concordat.${table}
       for each row when (not ${OWN_SESSION_SQL}) execute function concordat.ask_for_look()`,
  ),

  // All that have ended: which of them had something in the table nobody can say any more.
  `create function concordat.ask_for_looks_at_all() returns trigger language plpgsql as $$
   begin
     insert into concordat.audit_looks as look (tenant_id, run_id)
     select tenant_id, run_id from concordat.runs where ended_at is not null
     union select tenant_id, run_id from concordat.reconciliations where tg_table_name = 'runs'
     order by tenant_id, run_id ${ASK};
     return null;
   end $$`,
  ...KEPT.map(
    ([table]) => `create trigger ${table}_truncated after truncate on concordat.${table}
       for each statement execute function concordat.ask_for_looks_at_all()`,
  ),

  // Runs share contracts: one that is changed is that of many.
  `create function concordat.ask_for_looks_of_contract() returns trigger language plpgsql as $$
   begin
     insert into concordat.audit_looks as look (tenant_id, run_id)
     select tenant_id, run_id from concordat.runs where contract_id = old.contract_id order by tenant_id, run_id ${ASK};
     return null;
   end $$`,
  `create trigger audit_contracts_changed after update or delete on concordat.audit_contracts
     for each row execute function concordat.ask_for_looks_of_contract()`,
]
