import type { Tx } from '../../src/foundation/storage/storage.ts'

/*
 * What must hold of the ledger of budgets whenever anybody looks, asked in one statement each: a statement sees one
 * moment. Every query returns what is wrong.
 */

const SAME = '= (b.tenant_id, b.subject, b.metric, b.period, b.period_start)'
const USED = `case b.metric
    when 'cost_usd' then sum(s.cost_nano_usd)
    when 'tokens' then sum(coalesce(s.tokens_in, 0) + coalesce(s.tokens_out, 0))
    when 'steps' then count(s.step_key)
    when 'tool_calls' then count(s.step_key) filter (where s.kind = 'tool')
    when 'requests_per_minute' then count(s.step_key) filter (where s.kind in ('llm', 'tool')) end`

const AT_ANY_MOMENT: Readonly<Record<string, string>> = {
  'what is reserved is what runs hold': `
    select b.tenant_id, b.subject, b.metric, b.reserved::text, h.held::text
      from concordat.budgets b
      left join lateral (
        select coalesce(sum(amount), 0) as held from concordat.reservations h
         where (h.tenant_id, h.subject, h.metric, h.period, h.period_start) ${SAME}) h on true
     where b.reserved <> h.held`,

  'no reservation outlives its run': `
    select h.tenant_id, h.run_id, h.amount::text from concordat.reservations h
      join concordat.runs r using (tenant_id, run_id) where r.phase in ('COMPLETED', 'FAILED')`,

  'reserved plus settled never exceeds a limit but by an overrun': `
    select b.tenant_id, b.subject, b.metric, b.settled::text, b.reserved::text, b.overrun::text, p.definition ->> 'max' as max
      from concordat.budgets b
      join concordat.policies p on p.tenant_id = b.tenant_id and p.active and p.enabled
       and p.definition ->> 'metric' = b.metric and p.definition ->> 'window' = b.period
       and p.definition ->> 'agent' is null and p.definition ->> 'effect' <> 'warn'
       and replace(split_part(b.subject, '/', 1), 'key', 'api_key') = p.definition ->> 'scope'
     where b.settled + b.reserved - b.overrun
           > floor((p.definition ->> 'max')::numeric * case b.metric when 'cost_usd' then 1e9 else 1 end)`,
}

/* What is nothing but a wait counts as a step once it has begun. */
const COUNTED = `(s.status in ('succeeded', 'failed')
                or s.status = 'waiting' and s.attempt > 0 and s.kind in ('sleep', 'signal', 'run'))`

/*
 * A run's use is that of all below it. Only where every step's call succeeds at its first try: a call that is tried again is two requests and one step. The
 * periods of a subject are taken together, for a step that begins before midnight.
 */
const SETTLED_IS_USED = `
  with recursive family as (
    select tenant_id, run_id as ancestor, run_id from concordat.runs
    union all
    select c.tenant_id, f.ancestor, c.run_id from family f
      join concordat.runs c on c.tenant_id = f.tenant_id and c.parent_run_id = f.run_id
  )
  select * from (
    select b.tenant_id, b.subject, b.metric, b.period,
           sum(b.settled - b.estimated - b.unrecorded) as settled, max(u.used) as used
      from concordat.budgets b
      cross join lateral (
        select coalesce(${USED}, 0) as used
          from concordat.runs r join concordat.steps s on (s.tenant_id, s.run_id) = (r.tenant_id, r.run_id)
         where r.tenant_id = b.tenant_id and ${COUNTED}
           and case split_part(b.subject, '/', 1)
                 when 'run' then r.run_id in (select f.run_id from family f where f.ancestor::text = substr(b.subject, 5))
                 when 'key' then r.api_key_id = substr(b.subject, 5)
                 when 'agent' then r.agent = substr(b.subject, 7)
                 else true end) u
     group by b.tenant_id, b.subject, b.metric, b.period) sums
   where settled <> used`

/** Everything of the ledger that must hold at any moment. Returns what does not. */
export async function checkLedger(database: Tx): Promise<string[]> {
  return check(database, AT_ANY_MOMENT)
}

/** Whether what is settled is what steps have used, in one moment; see where that must hold. */
export async function checkSettled(database: Tx): Promise<string[]> {
  return check(database, { 'what is settled is what steps have used': SETTLED_IS_USED })
}

/** What must hold besides once every run has ended. */
export async function checkLedgerAtTheEnd(database: Tx): Promise<string[]> {
  return check(database, {
    'nothing is reserved any more': 'select tenant_id, subject, metric from concordat.budgets where reserved <> 0',
    'no reservation is left': 'select tenant_id, run_id, amount::text from concordat.reservations where amount <> 0',
    'a run without a row has used less than half of each limit of its own': `
      select r.run_id, p.name from concordat.runs r
        join concordat.policies p on p.tenant_id = r.tenant_id and p.active and p.enabled
         and p.definition ->> 'scope' = 'run' and p.definition ->> 'window' = 'run'
         and p.definition ->> 'metric' in ('cost_usd', 'tokens', 'steps', 'tool_calls')
       where not exists (select from concordat.budgets b where b.tenant_id = r.tenant_id
                            and b.subject = 'run/' || r.run_id and b.metric = p.definition ->> 'metric')
         and (select case p.definition ->> 'metric'
                when 'cost_usd' then coalesce(sum(s.cost_nano_usd), 0) / 1e9
                when 'tokens' then coalesce(sum(coalesce(s.tokens_in, 0) + coalesce(s.tokens_out, 0)), 0)
                when 'steps' then count(*)
                else count(*) filter (where s.kind = 'tool') end
                from concordat.steps s
               where s.tenant_id = r.tenant_id and s.run_id = r.run_id and s.status in ('succeeded', 'failed')) * 2
             >= (p.definition ->> 'max')::numeric`,
    'a run is refused only for what is spent': `
      select run_id, violation ->> 'message' as message
        from concordat.policy_violations
       where violation ->> 'type' = 'BUDGET_EXCEEDED' and violation ->> 'message' like '% and % for this step over %'
         and (regexp_match(violation ->> 'message', '([0-9.e-]+) and'))[1]::numeric
           + (regexp_match(violation ->> 'message', 'and ([0-9.e-]+) for'))[1]::numeric
          <= (violation ->> 'limit')::numeric`,
  })
}

const SHOWN_MAX = 3

async function check(database: Tx, promises: Readonly<Record<string, string>>): Promise<string[]> {
  const wrong: string[] = []
  for (const [what, sql] of Object.entries(promises)) {
    const rows = await database.query(sql)
    if (rows.length > 0) wrong.push(`${what}: not for ${rows.length}: ${JSON.stringify(rows.slice(0, SHOWN_MAX))}`)
  }
  return wrong
}
