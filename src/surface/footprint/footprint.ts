import { statement, type Tx } from '../../foundation/storage/storage.ts'

/** Numbers by name, as in `{ succeeded: 3, failed: 1 }`; a name without any is absent. */
export type Counts = { readonly [name: string]: number }

/** What a set of runs has left, counted from the database. */
export interface FootprintCounts {
  /** By status. */
  readonly runs: Counts
  readonly steps: number
  /** What the steps used; null where none has it recorded, which is not zero. */
  readonly costNanoUsd: bigint | null
  readonly tokensIn: bigint | null
  readonly tokensOut: bigint | null
  /** By outcome. */
  readonly incidents: Counts
  readonly evaluations: Counts
  /** By ending; `OPEN` have none. */
  readonly traces: Counts
  /** By status. */
  readonly acks: Counts
  /** By result of the stored reconciliation. */
  readonly audit: Counts
  /** What the reconciliations found, by kind. */
  readonly findings: Counts
  /** Outbox rows that wait to be published. */
  readonly unpublished: number
  /** By type, as far as the outbox still keeps them. */
  readonly events: Counts
}

const RUNS_AT_ONCE = 500

const COUNT = statement(
  'footprint_count',
  `with these as (select $1::text as tenant_id, unnest($2::uuid[]) as run_id),
        used as (
          select count(*) as steps, sum(cost_nano_usd)::bigint as cost, sum(tokens_in)::bigint as tokens_in,
                 sum(tokens_out)::bigint as tokens_out
            from these join concordat.steps using (tenant_id, run_id) where status in ('succeeded', 'failed'))
   select 'runs' as what, status as name, count(*) as n from these join concordat.runs using (tenant_id, run_id) group by status
   union all select 'used', 'steps', steps from used
   union all select 'used', 'costNanoUsd', cost from used
   union all select 'used', 'tokensIn', tokens_in from used
   union all select 'used', 'tokensOut', tokens_out from used
   union all select 'incidents', outcome, count(*) from these join concordat.incidents using (tenant_id, run_id) group by outcome
   union all select 'evaluations', outcome, count(*) from these join concordat.policy_evaluations using (tenant_id, run_id) group by outcome
   union all select 'traces', coalesce(ending, 'OPEN'), count(*) from these join concordat.traces using (tenant_id, run_id) group by ending
   union all select 'acks', status, count(*) from these join concordat.audit_acks using (tenant_id, run_id) group by status
   union all select 'audit', result, count(*) from these join concordat.reconciliations using (tenant_id, run_id) group by result
   union all select 'findings', finding ->> 'kind', count(*)
               from these join concordat.reconciliations using (tenant_id, run_id)
               cross join lateral jsonb_array_elements(findings) as finding group by finding ->> 'kind'
   union all select 'outbox', 'unpublished', count(*)
               from these join concordat.outbox using (tenant_id, run_id) where published_at is null`,
)

// Taken apart here, not by SQL: its functions refuse a text with NUL anywhere in the document.
const EVENTS = statement(
  'footprint_events',
  'select events from concordat.outbox where tenant_id = $1 and run_id = any($2::uuid[])',
)

/** Counts the footprints of some of a tenant's runs. Sums are exact. */
export async function countFootprints(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<FootprintCounts> {
  const totals = new Map<string, Map<string, bigint>>()
  const add = (what: string, name: string, n: bigint) => {
    const names = totals.get(what) ?? new Map<string, bigint>()
    totals.set(what, names.set(name, (names.get(name) ?? 0n) + n))
  }
  for (let from = 0; from < runIds.length; from += RUNS_AT_ONCE) {
    const these = [tenantId, runIds.slice(from, from + RUNS_AT_ONCE)]
    const counted = await tx.query<{ what: string; name: string; n: bigint | null }>(COUNT, these)
    for (const { what, name, n } of counted) if (n !== null) add(what, name, n)
    for (const { events } of await tx.query<{ events: string }>(EVENTS, these)) {
      for (const { type } of JSON.parse(events) as { type: string }[]) add('events', type, 1n)
    }
  }
  const countsOf = (what: string): Counts => {
    return Object.fromEntries([...(totals.get(what) ?? [])].sort().map(([name, n]) => [name, Number(n)]))
  }
  const used = (name: string) => totals.get('used')?.get(name) ?? null
  return {
    runs: countsOf('runs'),
    steps: Number(used('steps') ?? 0n),
    costNanoUsd: used('costNanoUsd'),
    tokensIn: used('tokensIn'),
    tokensOut: used('tokensOut'),
    incidents: countsOf('incidents'),
    evaluations: countsOf('evaluations'),
    traces: countsOf('traces'),
    acks: countsOf('acks'),
    audit: countsOf('audit'),
    findings: countsOf('findings'),
    unpublished: Number(totals.get('outbox')?.get('unpublished') ?? 0n),
    events: countsOf('events'),
  }
}

const NOT_ENDED = statement(
  'footprint_not_ended',
  `select run_id as "runId" from concordat.runs
    where tenant_id = $1 and run_id = any($2::uuid[]) and phase not in ('COMPLETED', 'FAILED')`,
)

/** Those of the runs that have not ended. */
export async function notEndedAmong(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ runId: string }>(NOT_ENDED, [tenantId, runIds])
  return rows.map(({ runId }) => runId)
}

const NOT_COMPLETE = statement(
  'footprint_not_complete',
  `select run_id as "runId" from unnest($2::uuid[]) as these (run_id)
    where not exists (select from concordat.reconciliations r
                       where r.tenant_id = $1 and r.run_id = these.run_id and r.result = 'COMPLETE')`,
)

/** Those of the runs that no reconciliation has found complete. */
export async function notCompleteAmong(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ runId: string }>(NOT_COMPLETE, [tenantId, runIds])
  return rows.map(({ runId }) => runId)
}

const UNPUBLISHED = statement(
  'footprint_unpublished',
  `select count(*)::int as rows from concordat.outbox
    where tenant_id = $1 and run_id = any($2::uuid[]) and published_at is null`,
)

/** How many of the runs' outbox rows wait to be published. */
export async function unpublishedOf(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<number> {
  const [row] = await tx.query<{ rows: number }>(UNPUBLISHED, [tenantId, runIds])
  return row?.rows ?? 0
}
