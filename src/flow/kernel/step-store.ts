import { isStale, rowSet, type Statement, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { RecordStep, StepRow } from './messages.ts'
import { aliveSql } from './worker-store.ts'

const STEPS = rowSet<RecordStep>({
  lease_token: ['int', ({ lease }) => lease.leaseToken],
  address: ['tid', ({ lease }) => lease.address],
  tenant_id: ['text', ({ lease }) => lease.tenantId],
  run_id: ['uuid', ({ lease }) => lease.runId],
  step_key: ['text', ({ step }) => step.key],
  seq: ['int', ({ step }) => step.seq],
  kind: ['text', ({ step }) => step.kind],
  name: ['text', ({ step }) => step.name],
  status: ['text', ({ step }) => step.status],
  attempt: ['smallint', ({ step }) => step.attempt],
  started_at: ['timestamptz', ({ step }) => step.startedAt],
  ended_at: ['timestamptz', ({ step }) => step.endedAt],
  input_digest: ['text', ({ step }) => step.inputDigest],
  output_digest: ['text', ({ step: { output } }) => output?.digest],
  output: ['json', ({ step: { output } }) => output?.text],
  input: ['json', ({ step: { input } }) => input?.text],
  error: ['json', ({ step: { error } }) => error && JSON.stringify(error)],
  attributes: ['json', ({ step }) => step.attributes],
  rest: ['json', ({ step }) => restOf(step)],
})

/*
 * Checkpoint and trace in one statement. `alive` locks the worker's row, so a step can't slip in after its run was given
 * to another; the token drops what is no longer this lease's to write.
 */
const ALIVE = aliveSql('any($1::uuid[])')
const leased = (where: string) => `select r.tenant_id from concordat.runs r
        where ${where}r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.lease_token = x.lease_token
          and r.worker_id in (select worker_id from alive)`

/*
 * `x.rest` holds numbers that most steps don't have: nine arrays more made a lone step wait half as long again. No
 * payload goes through it, because reading a member of it refuses NUL in any.
 */
const insertFor = (tenant: string) => `insert into concordat.steps as s
     (tenant_id, run_id, step_key, seq, kind, name, status, attempt, started_at, ended_at, input_digest, output_digest,
      input_size, output_size, output, input, error, attributes, due_at, latency_ms, tokens_in,
      tokens_out, cost_nano_usd, trace_gap)
   select ${tenant}, x.run_id, x.step_key, x.seq, x.kind, x.name, x.status, x.attempt, x.started_at, x.ended_at,
          x.input_digest, x.output_digest, octet_length(x.input::text), octet_length(x.output::text), x.output, x.input, x.error, x.attributes,
          (x.rest ->> 'dueAt')::timestamptz, (x.rest ->> 'latencyMs')::float8, (x.rest ->> 'tokensIn')::bigint,
          (x.rest ->> 'tokensOut')::bigint, (x.rest ->> 'costNanoUsd')::bigint, x.rest ->> 'traceGap'
     from ${STEPS.from(2)} as x`

/*
 * All of them, or it fails: to tell which costs a tenth. A run is where it was when it was claimed, or else found by its
 * key, which was a third of what a step cost.
 */
const INSERT_ALL = statement(
  'steps_insert_all',
  `with ${ALIVE}
   ${insertFor(`coalesce(
            (${leased('r.ctid = x.address and ')}),
            (${leased('')}),
            concordat.require_rows(0, 1, 'leases')::text)`)}`,
)

const INSERT = `${insertFor('r.tenant_id')}
     cross join lateral (
       ${leased('')} limit 1) r`

/** Which steps are recorded is told only when it is not all of them. */
function recording(insert: string): string {
  return `with ${ALIVE},
   recorded as (
   ${insert}
   returning run_id, step_key)
   select case when count(*) < cardinality($2::int[])
               then coalesce(array_agg(run_id || ' ' || step_key), '{}') end as recorded from recorded`
}

const INSERT_STEPS = statement('steps_insert', recording(INSERT))

/*
 * For a step that has a row: started, waiting, or written by a try whose reply was lost. The very same result may be
 * written again, another one never.
 */
const UPSERT_STEPS = statement(
  'steps_upsert',
  recording(`${INSERT}
   on conflict (tenant_id, run_id, step_key) do update
     set status = excluded.status, attempt = excluded.attempt, due_at = excluded.due_at, ended_at = excluded.ended_at,
         latency_ms = excluded.latency_ms, tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
         cost_nano_usd = excluded.cost_nano_usd, output_size = excluded.output_size,
         output_digest = excluded.output_digest, trace_gap = excluded.trace_gap, output = excluded.output,
         error = excluded.error, input = excluded.input, input_size = excluded.input_size, attributes = excluded.attributes
     where s.status in ('started', 'waiting') or s.ended_at = excluded.ended_at`),
)

/**
 * Records steps of runs under their leases. For each: true when it is recorded, false when its lease is lost. Inside a
 * transaction, which a failed statement ends, it fails with the unique violation that it otherwise answers itself.
 */
export async function recordSteps(
  tx: Tx,
  records: readonly RecordStep[],
  within: 'autocommit' | 'transaction' = 'autocommit',
): Promise<boolean[]> {
  const [stored, fresh] = [records.filter((record) => record.stored), records.filter((record) => !record.stored)]
  const insert = within === 'autocommit' ? insertSteps(tx, fresh) : writeSteps(tx, INSERT_STEPS, fresh)
  const [inserted, updated] = await Promise.all([insert, writeSteps(tx, UPSERT_STEPS, stored)])
  return records.map((record) => {
    const recorded = record.stored ? updated : inserted
    return recorded === 'all' || recorded.has(`${record.lease.runId} ${record.step.key}`)
  })
}

type Recorded = 'all' | ReadonlySet<string>

/** It fails where a row is, which only a lost reply can have left, and where a lease is lost. */
async function insertSteps(tx: Tx, records: readonly RecordStep[]): Promise<Recorded> {
  if (records.length === 0) return 'all'
  try {
    await tx.query(INSERT_ALL, valuesOf(records))
    return 'all'
  } catch (error) {
    if (!isStale(error)) throw error
    return writeSteps(tx, UPSERT_STEPS, records)
  }
}

async function writeSteps(tx: Tx, sql: Statement, records: readonly RecordStep[]): Promise<Recorded> {
  if (records.length === 0) return 'all'
  const [row] = await tx.query<{ recorded: string[] | null }>(sql, valuesOf(records))
  return row?.recorded ? new Set(row.recorded) : 'all'
}

function valuesOf(records: readonly RecordStep[]): unknown[] {
  const workers = new Set(records.map(({ lease }) => lease.workerId))
  return [[...workers], ...STEPS.values(records)]
}

const START = statement(
  'steps_start',
  `update concordat.steps set status = 'started', attempt = $4, due_at = null, started_at = clock_timestamp()
    where tenant_id = $1 and run_id = $2 and step_key = $3 and status in ('waiting', 'started')`,
)

/** Marks a step as started that has waited until now. The caller holds its run. */
export async function startStep(
  tx: Tx,
  { tenantId, runId }: RecordStep['lease'],
  { stepKey, attempt }: { readonly stepKey: string; readonly attempt: number },
): Promise<void> {
  await tx.query(START, [tenantId, runId, stepKey, attempt])
}

/** The columns that most steps leave empty, as one JSON text; null when all of them are. */
function restOf({ dueAt, latencyMs, tokensIn, tokensOut, costNanoUsd, traceGap }: StepRow): string | null {
  const rest = { dueAt, latencyMs, tokensIn, tokensOut, costNanoUsd: costNanoUsd?.toString() ?? null, traceGap }
  return Object.values(rest).every((value) => value === null) ? null : JSON.stringify(rest)
}
