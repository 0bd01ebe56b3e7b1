import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'

/*
 * What must hold whenever anybody looks, asked in one statement each: a statement sees one moment. Every query returns
 * what is wrong, so an empty answer is the proof.
 */

const ENDED = `r.phase in ('COMPLETED', 'FAILED')`
const SAME_RUN = 'tenant_id = r.tenant_id and run_id = r.run_id'

/** Ended runs without their whole footprint, and footprints of runs that have not ended. `$1`: ended how long ago at the most. */
export const DISAGREEMENTS = `
  select r.run_id, r.phase, 'ended with a part of its footprint' as wrong from concordat.runs r
   where ${ENDED} and r.ended_at > clock_timestamp() - $1::interval
     and not (
       (select count(*) from concordat.incidents where ${SAME_RUN}) = 1
       and (select count(*) from concordat.policy_evaluations where ${SAME_RUN}) = 1
       and (select count(*) from concordat.traces where ${SAME_RUN} and ending is not null) = 1
       and (select array_agg(domain || '/' || action order by domain, action) from concordat.audit_acks
             where ${SAME_RUN} and status = 'SUCCESS')
         = array['incidents/create_incident', 'logs/complete_trace', 'logs/start_trace', 'orchestrator/finalize_run',
                 'policies/evaluate_policy']
       and (select count(*) from concordat.outbox where ${SAME_RUN}
              and (events::text like '%"run.completed"%' or events::text like '%"run.failed"%')) = 1)
  union all
  select r.run_id, r.phase, 'has not ended, but has a part of its footprint' from concordat.runs r
   where not ${ENDED}
     and (exists (select from concordat.incidents where ${SAME_RUN})
       or exists (select from concordat.policy_evaluations where ${SAME_RUN})
       or exists (select from concordat.traces where ${SAME_RUN} and ending is not null)
       or exists (select from concordat.audit_acks where ${SAME_RUN} and status = 'SUCCESS' and action <> 'start_trace')
       or exists (select from concordat.outbox where ${SAME_RUN}
              and (events::text like '%"run.completed"%' or events::text like '%"run.failed"%')))`

const AT_THE_END: Record<string, string> = {
  'a run has not ended': `select run_id, phase from concordat.runs r where not ${ENDED}`,

  // Of a run that took worker after worker with it people are told, too.
  'a run has another set of events than one of each': `
    select r.run_id, array_agg(e.type order by e.type) as types
      from concordat.runs r
      left join (select o.run_id, event->>'type' as type from concordat.outbox o, json_array_elements(o.events) event) e
        on e.run_id = r.run_id and not (r.reason is not distinct from 'WORKER_LOST'
             and e.type in ('audit.reconciliation.stale', 'alert.raised', 'alert.resolved'))
     group by r.run_id, r.phase
    having array_agg(e.type order by e.type) <> array(
      select type from unnest(array['run.created', 'run.started', 'trace.started', 'incident.created', 'policy.evaluated',
        'trace.completed', case when r.phase = 'COMPLETED' then 'run.completed' else 'run.failed' end]) type order by type)`,

  'an event belongs to no run': `
    select run_id from concordat.outbox where run_id not in (select run_id from concordat.runs)`,

  'an event is not published': `select run_id, outbox_id from concordat.outbox where published_at is null`,

  'positions have a gap or an overlap': `
    select * from (
      select partition, position,
             coalesce(lag(position + event_count) over (partition by partition order by position), 1) as expected
        from concordat.outbox where published_at is not null) p
     where position <> expected`,

  'events of a run are out of order': `
    select run_id from (
      select run_id, position, lag(position) over (partition by run_id order by outbox_id) as before from concordat.outbox) p
     where before > position`,

  'a step ran though it was recorded': `select run_id, step_key from witness where recorded`,

  'a step with side effects ran twice': `
    select run_id, step_key from witness where side_effects group by run_id, step_key having count(*) > 1`,

  'a recorded step has no witness': `
    select s.run_id, s.step_key from concordat.steps s join concordat.runs r using (tenant_id, run_id)
     where r.agent = 'witnessed' and s.kind = 'do' and s.status = 'succeeded'
       and not exists (select from witness w where w.run_id = s.run_id and w.step_key = s.step_key)`,

  'a run that succeeded lacks a step': `
    select r.run_id from concordat.runs r
     where r.agent = 'witnessed' and r.phase = 'COMPLETED'
       and (select count(*) from concordat.steps s where s.run_id = r.run_id and s.kind = 'do' and s.status = 'succeeded')
           <> (r.input::text)::int`,

  'an illegal transition is recorded': `
    select r.run_id, t.step from concordat.runs r
     cross join lateral (
       select coalesce(lag(split_part(line, ' ', 1)) over (order by place), '') || '>' || split_part(line, ' ', 1) as step
         from regexp_split_to_table(rtrim(r.transitions, E'\\n'), E'\\n') with ordinality as l (line, place)) t
     where t.step not in (
       '>CREATED', 'CREATED>AUTHORIZED', 'AUTHORIZED>EXECUTING', 'EXECUTING>GOVERNANCE_CHECK', 'GOVERNANCE_CHECK>FINALIZING',
       'FINALIZING>COMPLETED', 'EXECUTING>FAILED')`,

  'a run failed for another reason than its own or the kills’': `
    select run_id, agent, reason from concordat.runs
     where phase = 'FAILED' and reason not in ('AGENT_FAILED', 'STEP_UNKNOWN', 'WORKER_LOST')`,
}

const SHOWN_MAX = 5

const OPEN = `select ((select count(*) from concordat.runs r where not ${ENDED})
                   + (select count(*) from concordat.outbox where published_at is null))::int as open`

/**
 * Everything that must hold once all is over: waits until it is, at most `patienceMs`. Returns what does not hold, each
 * with its first few rows. Workers may submit another run of their own at any moment, so it looks at one snapshot.
 */
export async function checkAtTheEnd(database: pg.Pool, patienceMs: number): Promise<string[]> {
  const giveUpAt = performance.now() + patienceMs
  const client = await database.connect()
  try {
    for (;;) {
      await client.query('begin isolation level repeatable read')
      const { rows } = await client.query<{ open: number }>(OPEN)
      const wrong = rows[0]?.open === 0 || performance.now() > giveUpAt ? await disagreements(client) : null
      await client.query('commit')
      if (wrong) return wrong
      await pause(100)
    }
  } finally {
    client.release()
  }
}

async function disagreements(client: pg.PoolClient): Promise<string[]> {
  const checks = [...Object.entries(AT_THE_END), ['footprints disagree', DISAGREEMENTS] as const]
  const wrong: string[] = []
  for (const [what, sql] of checks) {
    const { rows } = await client.query(sql, sql === DISAGREEMENTS ? ['1 day'] : [])
    if (rows.length > 0) wrong.push(`${what}: ${rows.length} × ${JSON.stringify(rows.slice(0, SHOWN_MAX))}`)
  }
  return wrong
}
