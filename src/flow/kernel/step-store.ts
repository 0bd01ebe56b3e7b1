import {
  isUniqueViolation,
  jsonArray,
  plainArray,
  type Statement,
  statement,
  type Tx,
  textArray,
} from '../../foundation/storage/storage.ts'
import type { RecordStep } from './messages.ts'

/*
 * Checkpoint and trace in one statement. `alive` locks the worker's row against its removal, so a step can't slip in
 * after its run was given to another; the join on the token drops what is no longer this lease's to write.
 * "Is not distinct from" keeps the planner from finding a run among all that the worker holds: only its key is fast.
 */
const INSERT = `with alive as (
     select worker_id from concordat.workers
      where worker_id = any($1::uuid[]) and expires_at > clock_timestamp() for key share
   )
   insert into concordat.steps as s
     (tenant_id, run_id, step_key, seq, kind, name, status, attempt, due_at, started_at, ended_at, latency_ms, tokens_in,
      tokens_out, cost_nano_usd, input_digest, input_size, output_size, output_digest, trace_gap, output, error, input, attributes)
   select x.tenant_id, x.run_id, x.step_key, x.seq, x.kind, x.name, x.status, x.attempt, x.due_at, x.started_at, x.ended_at,
          x.latency_ms, x.tokens_in, x.tokens_out, x.cost_nano_usd, x.input_digest, x.input_size, x.output_size,
          x.output_digest, x.trace_gap, x.output, x.error, x.input, x.attributes
     from unnest($2::uuid[], $3::int[], $4::text[], $5::uuid[], $6::text[], $7::int[], $8::text[], $9::text[], $10::text[],
                 $11::smallint[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::float8[], $16::bigint[],
                 $17::bigint[], $18::bigint[], $19::text[], $20::int[], $21::int[], $22::text[], $23::text[], $24::json[],
                 $25::json[], $26::json[], $27::json[])
            as x(worker_id, lease_token, tenant_id, run_id, step_key, seq, kind, name, status, attempt, due_at, started_at,
                 ended_at, latency_ms, tokens_in, tokens_out, cost_nano_usd, input_digest, input_size, output_size,
                 output_digest, trace_gap, output, error, input, attributes)
     join concordat.runs r on r.tenant_id = x.tenant_id and r.run_id = x.run_id
                          and r.worker_id is not distinct from x.worker_id and r.lease_token = x.lease_token
     join alive on alive.worker_id = x.worker_id`

const INSERT_STEPS = statement('steps_insert', `${INSERT} returning run_id, step_key`)

/*
 * For a step that has a row: started, waiting, or written by a try whose reply was lost. The very same result may be
 * written again, another one never.
 */
const UPSERT_STEPS = statement(
  'steps_upsert',
  `${INSERT}
   on conflict (tenant_id, run_id, step_key) do update
     set status = excluded.status, attempt = excluded.attempt, due_at = excluded.due_at, ended_at = excluded.ended_at,
         latency_ms = excluded.latency_ms, tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
         cost_nano_usd = excluded.cost_nano_usd, output_size = excluded.output_size,
         output_digest = excluded.output_digest, trace_gap = excluded.trace_gap, output = excluded.output,
         error = excluded.error, input = excluded.input, input_size = excluded.input_size, attributes = excluded.attributes
     where s.status in ('started', 'waiting') or s.ended_at = excluded.ended_at
   returning run_id, step_key`,
)

/** Records steps of runs under their leases. For each: true when it is recorded, false when its lease is lost. */
export async function recordSteps(tx: Tx, records: readonly RecordStep[]): Promise<boolean[]> {
  const [stored, fresh] = [records.filter((record) => record.stored), records.filter((record) => !record.stored)]
  const rows = (await Promise.all([insertSteps(tx, fresh), writeSteps(tx, UPSERT_STEPS, stored)])).flat()
  if (rows.length === records.length) return records.map(() => true)
  const recorded = new Set(rows.map((row) => `${row.run_id} ${row.step_key}`))
  return records.map(({ lease, step }) => recorded.has(`${lease.runId} ${step.key}`))
}

interface WrittenStep {
  readonly run_id: string
  readonly step_key: string
}

/** A plain insert is the cheaper statement. It fails where a row is, and then only a lost reply can have left it. */
async function insertSteps(tx: Tx, records: readonly RecordStep[]): Promise<WrittenStep[]> {
  try {
    return await writeSteps(tx, INSERT_STEPS, records)
  } catch (error) {
    if (!isUniqueViolation(error)) throw error
    return writeSteps(tx, UPSERT_STEPS, records)
  }
}

async function writeSteps(tx: Tx, sql: Statement, records: readonly RecordStep[]): Promise<WrittenStep[]> {
  if (records.length === 0) return []
  const steps = records.map((record) => record.step)
  const leases = records.map((record) => record.lease)
  return tx.query<WrittenStep>(sql, [
    [...new Set(leases.map((lease) => lease.workerId))],
    plainArray(leases.map((lease) => lease.workerId)),
    plainArray(leases.map((lease) => lease.leaseToken)),
    textArray(leases.map((lease) => lease.tenantId)),
    plainArray(leases.map((lease) => lease.runId)),
    textArray(steps.map((step) => step.key)),
    plainArray(steps.map((step) => step.seq)),
    textArray(steps.map((step) => step.kind)),
    textArray(steps.map((step) => step.name)),
    plainArray(steps.map((step) => step.status)),
    plainArray(steps.map((step) => step.attempt)),
    plainArray(steps.map((step) => step.dueAt?.toISOString() ?? null)),
    plainArray(steps.map((step) => step.startedAt.toISOString())),
    plainArray(steps.map((step) => step.endedAt?.toISOString() ?? null)),
    plainArray(steps.map((step) => step.latencyMs)),
    plainArray(steps.map((step) => step.tokensIn)),
    plainArray(steps.map((step) => step.tokensOut)),
    plainArray(steps.map((step) => step.costNanoUsd)),
    plainArray(steps.map((step) => step.inputDigest)),
    plainArray(steps.map((step) => step.input?.sizeBytes ?? null)),
    plainArray(steps.map((step) => step.output?.sizeBytes ?? null)),
    plainArray(steps.map((step) => step.output?.digest ?? null)),
    textArray(steps.map((step) => step.traceGap)),
    jsonArray(steps.map((step) => step.output?.text ?? null)),
    jsonArray(steps.map((step) => step.error && JSON.stringify(step.error))),
    jsonArray(steps.map((step) => step.input?.text ?? null)),
    jsonArray(steps.map((step) => step.attributes)),
  ])
}
