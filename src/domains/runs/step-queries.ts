import { statement, type Tx } from '../../foundation/storage/storage.ts'
import type { RunKey } from './run.ts'

/** A recorded step; payloads as JSON text, `costNanoUsd` in nano-US-dollars, times in database time. */
export interface StepRecord {
  readonly key: string
  readonly seq: number
  readonly kind: string
  readonly name: string
  readonly status: 'started' | 'waiting' | 'succeeded' | 'failed'
  readonly attempt: number
  readonly dueAt: Date | null
  readonly startedAt: Date
  readonly endedAt: Date | null
  readonly latencyMs: number | null
  readonly tokensIn: bigint | null
  readonly tokensOut: bigint | null
  readonly costNanoUsd: bigint | null
  readonly inputDigest: string
  readonly inputSize: number | null
  readonly outputSize: number | null
  readonly traceGap: string | null
  readonly output: string | null
  readonly error: string | null
}

export interface StepWithTrace extends StepRecord {
  readonly input: string | null
  readonly attributes: string | null
}

/**
 * Counts over a run's ended steps that its totals have beside their sums. A model call is uncosted when it used tokens,
 * or succeeded, and nobody knows what it cost.
 */
export const COUNTED_STEPS = `(count(*) filter (where kind = 'tool'))::int as tool_calls,
              (count(*) filter (where cost_nano_usd is null and (tokens_in is not null or tokens_out is not null
                                  or kind = 'llm' and status = 'succeeded')))::int as uncosted_steps`

/** The same of one ended step, as `COUNTED_STEPS` counts it. */
export function isUncosted(step: Pick<StepRecord, 'kind' | 'status'> & StepUsage): boolean {
  const usedTokens = step.tokensIn !== null || step.tokensOut !== null
  return step.costNanoUsd === null && (usedTokens || (step.kind === 'llm' && step.status === 'succeeded'))
}

/** Null: not recorded. */
export interface StepUsage {
  readonly tokensIn: number | bigint | null
  readonly tokensOut: number | bigint | null
  readonly costNanoUsd: bigint | null
}

const COLUMNS = `step_key as key, seq, kind, name, status, attempt, due_at as "dueAt", started_at as "startedAt",
          ended_at as "endedAt", coalesce(latency_ms, extract(epoch from ended_at - started_at)::float8 * 1000) as "latencyMs", tokens_in as "tokensIn", tokens_out as "tokensOut",
          cost_nano_usd as "costNanoUsd", input_digest as "inputDigest", input_size as "inputSize",
          output_size as "outputSize", trace_gap as "traceGap", output, error`

const CHECKPOINTS = statement(
  'steps_checkpoints',
  `select ${COLUMNS} from concordat.steps where tenant_id = $1 and run_id = $2 order by seq, step_key`,
)

const WITH_TRACE = statement(
  'steps_with_trace',
  `select ${COLUMNS}, input, attributes from concordat.steps where tenant_id = $1 and run_id = $2 order by seq, step_key`,
)

/** What a resume needs: every step that is recorded, in the order in which they were started, without inputs. */
export async function checkpointsOfRun(tx: Tx, { tenantId, runId }: RunKey): Promise<StepRecord[]> {
  return tx.query<StepRecord>(CHECKPOINTS, [tenantId, runId])
}

/** All steps of a run with inputs and attributes. */
export async function stepsOfRun(tx: Tx, { tenantId, runId }: RunKey): Promise<StepWithTrace[]> {
  return tx.query<StepWithTrace>(WITH_TRACE, [tenantId, runId])
}
