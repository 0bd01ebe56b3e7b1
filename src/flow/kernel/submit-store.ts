import { jsonArray, plainArray, statement, type Tx, textArray } from '../../foundation/storage/storage.ts'
import type { NewRun } from './messages.ts'

const COLUMNS = `tenant_id, run_id, agent, agent_version, agent_digest, phase, priority, ready_at, due_at, timeout_ms,
      idempotency_key, request_digest, input, input_size, input_digest, metadata, pending, transitions, expectations, created_at`

/** Only runs that their tenant admits, unless they are there to record that it doesn't; a taken idempotency key leaves one out. */
const INSERT_RUNS = statement(
  'runs_insert',
  `insert into concordat.runs (${COLUMNS})
   select x.* from unnest(
     $1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::timestamptz[],
     $9::timestamptz[], $10::bigint[], $11::text[], $12::text[], $13::json[], $14::int[], $15::text[], $16::json[],
     $17::json[], $18::jsonb[], $19::jsonb[], $20::timestamptz[]) as x(${COLUMNS})
     join concordat.tenants t on t.tenant_id = x.tenant_id
    where x.pending is not null
       or (t.status = 'active' and (t.allowed_agents is null or x.agent = any(t.allowed_agents)))
   on conflict do nothing
   returning run_id`,
)

/** Inserts the runs that are admitted and new. Returns the ids that are in. */
export async function insertRuns(tx: Tx, runs: readonly NewRun[]): Promise<Set<string>> {
  const rows = await tx.query<{ run_id: string }>(INSERT_RUNS, [
    textArray(runs.map((run) => run.tenantId)),
    plainArray(runs.map((run) => run.runId)),
    textArray(runs.map((run) => run.agent)),
    textArray(runs.map((run) => run.agentVersion)),
    textArray(runs.map((run) => run.agentDigest)),
    plainArray(runs.map((run) => run.phase)),
    plainArray(runs.map((run) => run.priority)),
    plainArray(runs.map((run) => run.readyAt?.toISOString() ?? null)),
    plainArray(runs.map((run) => run.dueAt?.toISOString() ?? null)),
    plainArray(runs.map((run) => run.timeoutMs)),
    textArray(runs.map((run) => run.idempotencyKey)),
    plainArray(runs.map((run) => run.requestDigest)),
    jsonArray(runs.map((run) => run.input.text)),
    plainArray(runs.map((run) => run.input.sizeBytes)),
    plainArray(runs.map((run) => run.input.digest)),
    jsonArray(runs.map((run) => run.metadata)),
    jsonArray(runs.map((run) => run.pending && JSON.stringify(run.pending))),
    jsonArray(runs.map((run) => JSON.stringify(run.transitions))),
    jsonArray(runs.map((run) => JSON.stringify(run.expectations))),
    plainArray(runs.map((run) => run.createdAt.toISOString())),
  ])
  return new Set(rows.map((row) => row.run_id))
}

const SELECT_BY_KEY = statement(
  'runs_by_idempotency_key',
  `select r.tenant_id as "tenantId", r.idempotency_key as "idempotencyKey", r.run_id as "runId", r.request_digest as "requestDigest",
          case when not r.transitions @> '[{"to": "AUTHORIZED"}]' then coalesce(r.error, r.pending->'end'->'error') end as "deniedWith"
     from unnest($1::text[], $2::text[]) as x(tenant_id, idempotency_key)
     join concordat.runs r using (tenant_id, idempotency_key)`,
)

export interface EarlierRun {
  readonly tenantId: string
  readonly idempotencyKey: string
  readonly runId: string
  readonly requestDigest: string
  /** The error that it was denied with, as JSON text; null when it was admitted. */
  readonly deniedWith: string | null
}

/** The runs that hold these idempotency keys. */
export async function runsByIdempotencyKey(
  tx: Tx,
  keys: readonly { readonly tenantId: string; readonly idempotencyKey: string }[],
): Promise<EarlierRun[]> {
  return tx.query<EarlierRun>(SELECT_BY_KEY, [keys.map((key) => key.tenantId), keys.map((key) => key.idempotencyKey)])
}
