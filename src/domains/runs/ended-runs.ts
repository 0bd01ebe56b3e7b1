import { statement, type Tx } from '../../foundation/storage/storage.ts'
import type { RunOutcome } from './phases.ts'
import type { RunTotals } from './run.ts'
import { COUNTED_STEPS } from './step-queries.ts'

/** A run that has ended, with what it used. */
export interface EndedRunUse {
  readonly runId: string
  readonly agent: string
  readonly status: RunOutcome
  readonly reason: string | null
  readonly totals: RunTotals
  /** From the start of its execution to its end, waiting included; null when it never executed. */
  readonly wallClockMs: number | null
}

export interface EndedRunPage {
  readonly tenantId: string
  readonly agent: string | null
  /** Runs older than this one: the last of the page before. Null: the newest. */
  readonly before: string | null
  readonly limit: number
}

const USE = statement(
  'runs_ended_use',
  `select r.run_id as "runId", r.agent, r.status, r.reason, r.step_count as steps, r.failed_steps as "failedSteps",
          r.trace_gaps as "traceGaps", r.tokens_in::float8 as "tokensIn", r.tokens_out::float8 as "tokensOut",
          r.cost_nano_usd as "costNanoUsd", s.tool_calls as "toolCalls", s.uncosted_steps as "uncostedSteps",
          extract(epoch from r.ended_at - r.execution_started_at)::float8 * 1000 as "wallClockMs"
     from concordat.runs r
     cross join lateral (
       select ${COUNTED_STEPS} from concordat.steps st
        where st.tenant_id = r.tenant_id and st.run_id = r.run_id and st.status in ('succeeded', 'failed')) s
    where r.tenant_id = $1 and ($2::text is null or r.agent = $2) and ($3::uuid is null or r.run_id < $3)
      and r.phase in ('COMPLETED', 'FAILED')
    order by r.run_id desc limit $4`,
)

/** A page of a tenant's ended runs, the newest first. */
export async function endedRuns(tx: Tx, { tenantId, agent, before, limit }: EndedRunPage): Promise<EndedRunUse[]> {
  type Row = Omit<EndedRunUse, 'totals'> & RunTotals
  const rows = await tx.query<Row>(USE, [tenantId, agent, before, limit])
  return rows.map(({ runId, agent, status, reason, wallClockMs, ...totals }) => {
    return { runId, agent, status, reason, wallClockMs, totals }
  })
}

/** How many ended runs a tenant has, counted no further than `limit`. */
export async function countEndedRuns(tx: Tx, { tenantId, agent, limit }: EndedRunPage): Promise<number> {
  const [row] = await tx.query<{ n: number }>(
    `select count(*)::int as n
       from (select from concordat.runs where tenant_id = $1 and ($2::text is null or agent = $2)
                and phase in ('COMPLETED', 'FAILED') limit $3) ended`,
    [tenantId, agent, limit],
  )
  return row?.n ?? 0
}
