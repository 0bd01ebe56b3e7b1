import type { Meter } from '../../domains/budgets/budgets.ts'
import type { ActivePolicy, PolicyBook, PolicyDefinition } from '../../domains/policies/policies.ts'
import { COUNTED_STEPS, type RunKey, type RunTotals } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { CheckFacts } from './policy-check.ts'

/** A run to read facts of, with what is known of it already: that is not read again. */
export interface FactsAsked extends RunKey {
  /** The version of the tenant's policies that the asker has; null: none. */
  readonly policiesVersion: number | null
  /** Sums over the run's recorded steps; null: only the database knows. */
  readonly totals: RunTotals | null
}

const ASKED = rowSet<FactsAsked>({
  tenant_id: ['text', (asked) => asked.tenantId],
  run_id: ['uuid', (asked) => asked.runId],
  policies_version: ['bigint', (asked) => asked.policiesVersion],
  counted: ['bool', (asked) => asked.totals !== null],
})

/*
 * One statement, however many runs and policies. Policies are read when they are others than the asker's, steps are
 * added up when the asker has not done so. What was in force when the run started, or was resumed last, is told by the
 * versions' own times, so that a worker which takes the run over judges a change as the one before it would have. In
 * which rows of the ledger the run counts is told to who asks for the first time.
 */
const READ = statement(
  'policy_check_facts',
  `select r.run_id as "runId", r.agent, r.stop, t.status = 'suspended' as "tenantSuspended",
          t.policies_version as "policiesVersion", s.*, p.policies, b.counting,
          extract(epoch from clock_timestamp() - r.execution_started_at)::float8 * 1000 as "wallClockMs"
     from ${ASKED.from(1)} as x
     cross join lateral (
       select r.*, coalesce(r.policies_as_of, r.execution_started_at) as since
         from concordat.runs r where r.tenant_id = x.tenant_id and r.run_id = x.run_id limit 1) r
     cross join lateral (select * from concordat.tenants t where t.tenant_id = x.tenant_id limit 1) t
     cross join lateral (
       select jsonb_agg(jsonb_build_object(
                'definition', p.definition, 'version', p.version, 'now', p.active,
                'atStart', p.created_at <= r.since and (p.retired_at is null or p.retired_at > r.since))
                order by p.name) as policies
         from concordat.policies p
        where x.policies_version is distinct from t.policies_version
          and p.tenant_id = x.tenant_id and (p.active or p.retired_at > r.since)) p
     cross join lateral (
       select jsonb_agg(jsonb_build_object('subject', h.subject, 'metric', h.metric, 'period', h.period,
                'periodStart', extract(epoch from h.period_start) * 1000)) as counting
         from concordat.reservations h
        where x.policies_version is null and h.tenant_id = x.tenant_id and h.run_id = x.run_id
          and (h.period in ('run', 'month') or h.period_start > clock_timestamp() - interval '1 day')) b
     cross join lateral (
       select count(*)::int as steps, (count(*) filter (where status = 'failed'))::int as "failedSteps",
              sum(tokens_in)::float8 as "tokensIn", sum(tokens_out)::float8 as "tokensOut",
              sum(cost_nano_usd)::bigint as "costNanoUsd", ${COUNTED_STEPS}
         from concordat.steps st
        where not x.counted
          and st.tenant_id = x.tenant_id and st.run_id = x.run_id and st.status in ('succeeded', 'failed')) s`,
)

interface FactsRow {
  readonly runId: string
  readonly agent: string
  readonly stop: CheckFacts['stop']
  readonly tenantSuspended: boolean
  readonly policiesVersion: bigint
  readonly wallClockMs: number | null
  readonly steps: number
  readonly failedSteps: number
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: bigint | null
  readonly tool_calls: number
  readonly uncosted_steps: number
  readonly counting: readonly (Omit<Meter, 'tenantId' | 'periodStart'> & { readonly periodStart: number })[] | null
  /** Null: there are none, or the asker has them. */
  readonly policies:
    | readonly {
        readonly definition: PolicyDefinition
        readonly version: number
        readonly now: boolean
        readonly atStart: boolean
      }[]
    | null
}

/** A tenant's policies as one run sees them. */
export interface PoliciesSeen {
  readonly version: number
  readonly now: readonly ActivePolicy[]
  readonly atStart: readonly ActivePolicy[]
}

export interface FactsRead {
  readonly facts: Omit<CheckFacts, 'policies' | 'atStart' | 'windowUse'>
  /** Null: those that the asker has are in force. */
  readonly policies: PoliciesSeen | null
  /** In which rows of the ledger the run counts already; none for who has the policies. */
  readonly counting: readonly Meter[]
}

/** What the checks of several runs look at, in their order. Fails with `RUN_NOT_FOUND` when one of them is gone. */
export async function readCheckFacts(tx: Tx, runs: readonly FactsAsked[], book: PolicyBook): Promise<FactsRead[]> {
  const rows = await tx.query<FactsRow>(READ, ASKED.values(runs))
  const byRun = new Map(rows.map((row) => [row.runId, row]))
  return runs.map((asked) => {
    const row = byRun.get(asked.runId)
    if (!row) throw new AppError('RUN_NOT_FOUND', `run ${asked.runId} is gone`)
    const counting = (row.counting ?? []).map(({ periodStart, ...meter }) => {
      return { ...meter, tenantId: asked.tenantId, periodStart: new Date(periodStart) }
    })
    return { facts: factsOf(asked, row), policies: policiesOf(asked, row, book), counting }
  })
}

function factsOf({ tenantId, totals }: FactsAsked, row: FactsRow): FactsRead['facts'] {
  const { agent, stop, tenantSuspended, wallClockMs, steps, failedSteps, tokensIn, tokensOut, costNanoUsd } = row
  const counted = { steps, failedSteps, tokensIn, tokensOut, costNanoUsd }
  const used = totals ?? { ...counted, toolCalls: row.tool_calls, uncostedSteps: row.uncosted_steps }
  return { run: { tenantId, agent, ...used, wallClockMs }, stop, tenantSuspended }
}

function policiesOf(
  { tenantId, policiesVersion }: FactsAsked,
  { policiesVersion: inForce, policies }: FactsRow,
  book: PolicyBook,
): PoliciesSeen | null {
  const version = Number(inForce)
  if (version === policiesVersion) return null
  const among = (which: 'now' | 'atStart') => {
    return (policies ?? []).filter((each) => each[which]).map((each) => book.inForce(each.definition, each.version))
  }
  const now = among('now')
  book.remember(tenantId, { version, policies: now })
  return { version, now, atStart: among('atStart') }
}
