import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type BudgetLimit, type MeterMetric, type MeterPeriod, periodStart } from './meter.ts'

/** A row of the ledger as people read it; amounts in the meter's unit. */
export interface LedgerUse {
  readonly subject: string
  readonly settled: bigint
  readonly reserved: bigint
  readonly overrun: bigint
  /** Of what is settled: reservations of aborted steps of which nobody knows what they used. */
  readonly estimated: bigint
  readonly uncosted: number
}

/** The limit's row of one subject in the period that is now. */
export interface LimitUse extends LedgerUse {
  readonly limit: BudgetLimit
  readonly since: Date
}

interface AskedLimit {
  readonly place: number
  readonly limit: BudgetLimit
  readonly since: Date
}

const ASKED = rowSet<AskedLimit>({
  place: ['int', ({ place }) => place],
  metric: ['text', ({ limit }) => limit.metric],
  period: ['text', ({ limit }) => limit.window],
  period_start: ['timestamptz', ({ since }) => since],
  agent: ['text', ({ limit }) => limit.agent],
  // Null: a limit of runs, of which those under way are asked for, not all that have ever been.
  pattern: ['text', ({ limit }) => (limit.scope === 'run' ? null : patternOf(limit))],
})

const USED = 'b.subject, b.settled, b.reserved, b.overrun, b.estimated, b.uncosted'

const USAGE = statement(
  'ledger_usage',
  `select x.place, u.*
     from ${ASKED.from(3)} as x
    cross join lateral (
      select * from (
        (select ${USED} from concordat.budgets b
          where x.pattern is not null and b.tenant_id = $1 and b.metric = x.metric and b.period = x.period
            and b.period_start = x.period_start and b.subject ~ x.pattern)
        union all
        (select ${USED}
           from (select distinct h.subject from concordat.reservations h
                  where x.pattern is null and h.tenant_id = $1 and h.metric = x.metric and h.period = x.period
                    and h.subject ~ '^run/') s
          cross join lateral (
            select from concordat.runs r
             where r.tenant_id = $1 and r.run_id = substr(s.subject, 5)::uuid and (x.agent is null or r.agent = x.agent)
             limit 1) r
          cross join lateral (
            select * from concordat.budgets b
             where b.tenant_id = $1 and b.subject = s.subject and b.metric = x.metric and b.period = x.period
               and b.period_start = x.period_start limit 1) b)) b
       order by b.settled + b.reserved desc, b.subject limit $2) u
    order by x.place, u.settled + u.reserved desc, u.subject`,
)

/** What is used of each limit at this time: of its subjects, those that use most; of runs, those under way. */
export async function usageOf(
  tx: Tx,
  tenantId: string,
  bounding: readonly BudgetLimit[],
  { at, top }: { readonly at: Date; readonly top: number },
): Promise<LimitUse[]> {
  const asked = bounding.map((limit, place) => ({ place, limit, since: periodStart(limit.window, at) }))
  const rows = await tx.query<LedgerUse & { readonly place: number }>(USAGE, [tenantId, top, ...ASKED.values(asked)])
  return rows.flatMap(({ place, ...use }) => {
    const found = asked[place]
    return found ? [{ ...use, limit: found.limit, since: found.since }] : []
  })
}

/** The subjects that a limit counts, as a regular expression of PostgreSQL; see `metersOf`. */
function patternOf({ scope, agent }: BudgetLimit): string {
  const name = agent?.replace(/[^\p{L}\p{N}]/gu, '\\$&')
  if (scope === 'api_key') return name === undefined ? '^key/[^/]+$' : `^key/[^/]+/agent/${name}$`
  if (name !== undefined) return `^agent/${name}$`
  return scope === 'agent' ? '^agent/' : '^tenant$'
}

/** What a run has to do with a row of the ledger. */
export interface RunLedgerUse extends LedgerUse {
  readonly metric: MeterMetric
  readonly period: MeterPeriod
  readonly periodStart: Date
  /** Of what is reserved: by this run. */
  readonly held: bigint
}

const OF_RUN = statement(
  'ledger_of_run',
  `select ${USED}, b.metric, b.period, b.period_start as "periodStart", coalesce(h.amount, 0) as held
     from (select subject, metric, period, period_start from concordat.reservations
            where tenant_id = $1 and run_id = $2 and amount > 0
           union
           select subject, metric, period, period_start from concordat.budgets
            where tenant_id = $1 and subject = 'run/' || $2) k
    cross join lateral (
      select * from concordat.budgets b
       where b.tenant_id = $1 and (b.subject, b.metric, b.period, b.period_start) = (k.subject, k.metric, k.period, k.period_start)
       limit 1) b
     left join lateral (
       select amount from concordat.reservations h
        where h.tenant_id = $1 and h.run_id = $2
          and (h.subject, h.metric, h.period, h.period_start) = (k.subject, k.metric, k.period, k.period_start)
        limit 1) h on true
    order by b.subject <> 'run/' || $2, b.subject, b.metric, b.period_start desc limit 200`,
)

/** The rows of the ledger that are the run's own, and those of which it has something reserved; 200 at the most. */
export async function ledgerOfRun(
  tx: Tx,
  { tenantId, runId }: { readonly tenantId: string; readonly runId: string },
): Promise<RunLedgerUse[]> {
  return tx.query<RunLedgerUse>(OF_RUN, [tenantId, runId])
}

const pruning = (period: 'minute' | 'hour') =>
  statement(
    `ledger_prune_${period}s`,
    `delete from concordat.budgets where ctid = any (array(
       select ctid from concordat.budgets
        where period = '${period}' and period_start < clock_timestamp() - $1::bigint * interval '1 ms' and reserved = 0
        order by period_start limit ${limits.ledgerPruneMax} for update skip locked))
     returning 1`,
  )
const PRUNE_MINUTES = pruning('minute')
const PRUNE_HOURS = pruning('hour')

/** Deletes rows of minutes and hours that are long past, in bounded bites; returns how many, 0 when none is left. */
export async function pruneLedger(tx: Tx): Promise<number> {
  const minutes = await tx.query(PRUNE_MINUTES, [limits.budgetMinutesKeptMs])
  const hours = await tx.query(PRUNE_HOURS, [limits.budgetHoursKeptMs])
  return minutes.length + hours.length
}
