import { type Tx, statement } from '../../foundation/storage/storage.ts'
import type { RecordStep } from './messages.ts'

/*
 * Checkpoint and trace in one statement. `alive` locks the worker's row against its removal, so a step can't slip in
 * after its run was given to another; the join on the token drops what is no longer this lease's to write.
 * "Is not distinct from" keeps the planner from finding a run among all that the worker holds: only its key is fast.
 * Writing the very same result again is allowed: the reply to the first try may have been lost.
 */
const RECORD_STEPS = statement(
  'steps_record',
  `with alive as (
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
     join alive on alive.worker_id = x.worker_id
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
  const steps = records.map((record) => record.step)
  const leases = records.map((record) => record.lease)
  const rows = await tx.query<{ run_id: string; step_key: string }>(RECORD_STEPS, [
    [...new Set(leases.map((lease) => lease.workerId))],
    leases.map((lease) => lease.workerId),
    leases.map((lease) => lease.leaseToken),
    leases.map((lease) => lease.tenantId),
    leases.map((lease) => lease.runId),
    steps.map((step) => step.key),
    steps.map((step) => step.seq),
    steps.map((step) => step.kind),
    steps.map((step) => step.name),
    steps.map((step) => step.status),
    steps.map((step) => step.attempt),
    steps.map((step) => step.dueAt?.toISOString() ?? null),
    steps.map((step) => step.startedAt.toISOString()),
    steps.map((step) => step.endedAt?.toISOString() ?? null),
    steps.map((step) => step.latencyMs),
    steps.map((step) => step.tokensIn),
    steps.map((step) => step.tokensOut),
    steps.map((step) => step.costNanoUsd),
    steps.map((step) => step.inputDigest),
    steps.map((step) => step.input?.sizeBytes ?? null),
    steps.map((step) => step.output?.sizeBytes ?? null),
    steps.map((step) => step.output?.digest ?? null),
    steps.map((step) => step.traceGap),
    steps.map((step) => step.output?.text ?? null),
    steps.map((step) => step.error && JSON.stringify(step.error)),
    steps.map((step) => step.input?.text ?? null),
    steps.map((step) => step.attributes),
  ])
  if (rows.length === records.length) return records.map(() => true)
  const recorded = new Set(rows.map((row) => `${row.run_id} ${row.step_key}`))
  return records.map(({ lease, step }) => recorded.has(`${lease.runId} ${step.key}`))
}
