import { type Expressions, inForce, type PolicyDefinition } from '../../domains/policies/policies.ts'
import { COUNTED_STEPS, type RunKey } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import type { CheckFacts } from './policy-check.ts'

/*
 * One statement, however many policies. What was in force when the run started is told by the versions' own times, so
 * that a worker which resumes the run judges a change as the one before it would have.
 */
const READ = statement(
  'policy_check_facts',
  `select r.run_id as "runId", r.agent, r.stop, t.status = 'suspended' as "tenantSuspended", s.*,
          extract(epoch from clock_timestamp() - r.execution_started_at)::float8 * 1000 as "wallClockMs",
          (select coalesce(jsonb_agg(jsonb_build_object(
                    'definition', p.definition, 'version', p.version, 'now', p.active,
                    'atStart', p.created_at <= r.execution_started_at
                               and (p.retired_at is null or p.retired_at > r.execution_started_at))
                    order by p.name), '[]')
             from concordat.policies p
            where p.tenant_id = r.tenant_id and p.enabled and (p.active or p.retired_at > r.execution_started_at)) as policies
     from unnest($1::text[], $2::uuid[]) as x (tenant_id, run_id)
     join concordat.runs r using (tenant_id, run_id)
     join concordat.tenants t using (tenant_id)
     cross join lateral (
       select count(*)::int as steps, (count(*) filter (where status = 'failed'))::int as "failedSteps",
              sum(tokens_in)::float8 as "tokensIn", sum(tokens_out)::float8 as "tokensOut",
              sum(cost_nano_usd)::bigint as "costNanoUsd", ${COUNTED_STEPS}
         from concordat.steps st
        where st.tenant_id = r.tenant_id and st.run_id = r.run_id and st.status in ('succeeded', 'failed')) s`,
)

interface FactsRow {
  readonly runId: string
  readonly agent: string
  readonly stop: CheckFacts['stop']
  readonly tenantSuspended: boolean
  readonly wallClockMs: number | null
  readonly steps: number
  readonly failedSteps: number
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: bigint | null
  readonly tool_calls: number
  readonly uncosted_steps: number
  readonly policies: readonly {
    readonly definition: PolicyDefinition
    readonly version: number
    readonly now: boolean
    readonly atStart: boolean
  }[]
}

/** What the checks of several runs look at. Fails with `RUN_NOT_FOUND` when one of them is gone. */
export async function readCheckFacts(
  tx: Tx,
  runs: readonly RunKey[],
  expressions: Expressions,
): Promise<Map<string, CheckFacts>> {
  const rows = await tx.query<FactsRow>(READ, [runs.map(({ tenantId }) => tenantId), runs.map(({ runId }) => runId)])
  const tenants = new Map(runs.map(({ tenantId, runId }) => [runId, tenantId]))
  const facts = new Map(rows.map((row) => [row.runId, toFacts(tenants.get(row.runId) ?? '', row, expressions)]))
  const missing = runs.find(({ runId }) => !facts.has(runId))
  if (missing) throw new AppError('RUN_NOT_FOUND', `run ${missing.runId} is gone`)
  return facts
}

function toFacts(tenantId: string, row: FactsRow, expressions: Expressions): CheckFacts {
  const { agent, stop, tenantSuspended, wallClockMs, tool_calls, uncosted_steps, policies } = row
  const { steps, failedSteps, tokensIn, tokensOut, costNanoUsd } = row
  const among = (which: 'now' | 'atStart') => {
    return policies
      .filter((each) => each[which])
      .map(({ definition, version }) => inForce(definition, version, expressions))
  }
  const used = {
    steps,
    failedSteps,
    tokensIn,
    tokensOut,
    costNanoUsd,
    toolCalls: tool_calls,
    uncostedSteps: uncosted_steps,
  }
  return {
    run: { tenantId, agent, ...used, wallClockMs },
    stop,
    tenantSuspended,
    policies: among('now'),
    atStart: among('atStart'),
    windowUse: new Map(),
  }
}
