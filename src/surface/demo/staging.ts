import type { Tx } from '../../foundation/storage/storage.ts'

/** Lets the incidents domain refuse every run of the agent, until `allowIncidentsAgain`. */
export async function refuseIncidentsOf(tx: Tx, agent: string): Promise<void> {
  await tx.query(`
    create function concordat.demo_refuse() returns trigger language plpgsql as $$
    begin
      if exists (select from concordat.runs r where r.run_id = new.run_id and r.agent = '${agent}') then
        raise exception 'staged by the demo: the incidents domain refuses';
      end if;
      return new;
    end $$`)
  await tx.query(`
    create trigger demo_refuse before insert on concordat.incidents
      for each row execute function concordat.demo_refuse()`)
}

/** May be called twice. */
export async function allowIncidentsAgain(tx: Tx): Promise<void> {
  await tx.query('drop trigger if exists demo_refuse on concordat.incidents')
  await tx.query('drop function if exists concordat.demo_refuse()')
}
