import type { Tx } from '../../../src/index.ts'

/** Where a run's end can be refused, and how: each a trigger that refuses the runs that are named to it. */
const TRIGGERS = {
  incidents: 'before insert on concordat.incidents for each row',
  policy_evaluations: 'before insert on concordat.policy_evaluations for each row',
  traces: 'before update on concordat.traces for each row',
  audit_acks: `before insert on concordat.audit_acks for each row
    when (new.action = 'finalize_run' and new.status = 'SUCCESS')`,
  outbox: `before insert on concordat.outbox for each row when (new.events::text like '%"run.completed"%')`,
  runs: `before update on concordat.runs for each row when (new.phase = 'COMPLETED')`,
} as const
export type RefusingTable = keyof typeof TRIGGERS

/** Puts a trigger on each table of the footprint. It refuses nothing until `refuse` names a run. */
export async function createRefusals(database: Tx): Promise<void> {
  await database.query('create table refused (run_id uuid, table_name text)')
  await database.query(
    `create function refuse() returns trigger language plpgsql as $$
       begin
         if exists (select from refused where run_id = new.run_id and table_name = tg_table_name) then
           raise exception '% refuses run %', tg_table_name, new.run_id;
         end if;
         return new;
       end $$`,
  )
  for (const [table, trigger] of Object.entries(TRIGGERS)) {
    await database.query(`create trigger refuse_${table} ${trigger} execute function refuse()`)
  }
}

export async function refuse(database: Tx, table: RefusingTable, runIds: readonly string[]): Promise<void> {
  await database.query('insert into refused select unnest($1::uuid[]), $2', [runIds, table])
}

export async function refuseNoMore(database: Tx, runIds: readonly string[]): Promise<void> {
  await database.query('delete from refused where run_id = any($1::uuid[])', [runIds])
}
