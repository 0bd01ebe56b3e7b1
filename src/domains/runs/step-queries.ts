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
