import { type RunKey, transitionLines } from '../../domains/runs/runs.ts'
import { appendEventsSql } from '../../foundation/events/events.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { NewRun } from './messages.ts'
import { RUN_CREATED } from './start-writes.ts'

const COLUMNS = {
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  agent: ['text', (run) => run.agent],
  agent_version: ['text', (run) => run.agentVersion],
  agent_digest: ['text', (run) => run.agentDigest],
  phase: ['text', (run) => run.phase],
  priority: ['smallint', (run) => run.priority],
  ready_at: ['timestamptz', (run) => run.readyAt],
  due_at: ['timestamptz', (run) => run.dueAt],
  timeout_ms: ['bigint', (run) => run.timeoutMs],
  idempotency_key: ['text', (run) => run.idempotencyKey],
  request_digest: ['text', (run) => run.requestDigest],
  input: ['json', ({ input }) => input.text],
  input_size: ['int', ({ input }) => input.sizeBytes],
  input_digest: ['text', ({ input }) => input.digest],
  metadata: ['json', (run) => run.metadata],
  pending: ['json', ({ pending }) => pending && JSON.stringify(pending)],
  transitions: ['text', (run) => transitionLines(run.transitions)],
  contract_id: ['uuid', (run) => run.contractId],
  created_at: ['timestamptz', (run) => run.createdAt],
  api_key_id: ['text', (run) => run.apiKeyId],
} as const satisfies Parameters<typeof rowSet<NewRun>>[0]

/** The columns of a run as it is submitted. */
export const NEW_RUNS = rowSet<NewRun>(COLUMNS)

/** Those of a child, apart: each column costs every submission. */
const NEW_CHILDREN = rowSet<NewRun>({
  ...COLUMNS,
  parent_run_id: ['uuid', ({ parent }) => parent?.runId],
  parent_step_key: ['text', ({ parent }) => parent?.stepKey],
  root_run_id: ['uuid', ({ parent }) => parent?.rootRunId],
  depth: ['smallint', ({ parent }) => parent?.depth],
  ancestors: ['jsonb', ({ parent }) => parent && JSON.stringify(parent.ancestors)],
})

/** SQL: the tenant `t` admits the run `x`. */
export const ADMITTED = `t.status = 'active' and (t.allowed_agents is null or x.agent = any(t.allowed_agents))`

/** The rest of a statement that inserts runs: what their first event says is in their rows. */
const CREATED = `returning tenant_id, run_id, agent, agent_version, priority, split_part(transitions, ' ', 2) as at,
             left(run_id::text, 15) as moment),
   event as (${appendEventsSql('inserted', [RUN_CREATED])})
   select run_id from inserted`

/** Only runs that their tenant admits, unless they are there to record that it doesn't; a taken idempotency key leaves one out. */
const INSERT_RUNS = statement(
  'runs_insert',
  `with inserted as (
   insert into concordat.runs (${NEW_RUNS.names})
   select x.* from ${NEW_RUNS.from(1)} as x
     join concordat.tenants t on t.tenant_id = x.tenant_id
    where x.pending is not null or (${ADMITTED})
   on conflict do nothing
   ${CREATED}`,
)

/** Inserts the runs that are admitted and new, and announces them. Returns the ids that are in. */
export async function insertRuns(tx: Tx, runs: readonly NewRun[]): Promise<Set<string>> {
  const rows = await tx.query<{ run_id: string }>(INSERT_RUNS, NEW_RUNS.values(runs))
  return new Set(rows.map((row) => row.run_id))
}

const PARENTS = rowSet<NewRun>({
  tenant_id: ['text', (run) => run.tenantId],
  parent_run_id: ['uuid', ({ parent }) => parent?.runId],
  run_id: ['uuid', (run) => run.runId],
  lease_token: ['int', ({ parent }) => parent?.leaseToken],
})

const LOCK_PARENTS = statement(
  'runs_lock_parents',
  `select from ${PARENTS.from(1)} as x
    cross join lateral (
      select from concordat.runs p
       where p.tenant_id = x.tenant_id and p.run_id = x.parent_run_id limit 1 for share) p`,
)

/*
 * The parents are locked by the statement before: one that ends is either seen here as ended, or sees this child as its
 * own to stop.
 */
const INSERT_CHILDREN = statement(
  'runs_insert_children',
  `with inserted as (
   insert into concordat.runs (${NEW_CHILDREN.names})
   select x.* from ${NEW_CHILDREN.from(5)} as x
     join concordat.tenants t on t.tenant_id = x.tenant_id
     join ${PARENTS.from(1)} as link on link.run_id = x.run_id
    cross join lateral (
      select from concordat.runs p
       where p.tenant_id = x.tenant_id and p.run_id = x.parent_run_id and p.lease_token = link.lease_token
         and p.phase = 'EXECUTING' and p.stop is null and p.pending is null limit 1) p
    where x.pending is not null or (${ADMITTED})
   on conflict do nothing
   ${CREATED}`,
)

/** The same of runs that other runs start: only while those are under the lease that starts them. */
export async function insertChildren(tx: Tx, runs: readonly NewRun[]): Promise<Set<string>> {
  const byParent = runs.toSorted((a, b) => ((a.parent?.runId ?? '') < (b.parent?.runId ?? '') ? -1 : 1))
  const parents = PARENTS.values(byParent)
  const [, rows] = await Promise.all([
    tx.query(LOCK_PARENTS, parents),
    tx.query<{ run_id: string }>(INSERT_CHILDREN, [...parents, ...NEW_CHILDREN.values(byParent)]),
  ])
  return new Set(rows.map((row) => row.run_id))
}

const SELECT_EXISTING = statement(
  'runs_existing',
  `select run_id from concordat.runs where tenant_id = any($1::text[]) and run_id = any($2::uuid[])`,
)

/** The ids of those that are in already. */
export async function existingRuns(tx: Tx, runs: readonly RunKey[]): Promise<Set<string>> {
  const rows = await tx.query<{ run_id: string }>(SELECT_EXISTING, [
    runs.map((run) => run.tenantId),
    runs.map((run) => run.runId),
  ])
  return new Set(rows.map((row) => row.run_id))
}

interface IdempotencyKey {
  readonly tenantId: string
  readonly idempotencyKey: string
}

const KEYS = rowSet<IdempotencyKey>({
  tenant_id: ['text', (key) => key.tenantId],
  idempotency_key: ['text', (key) => key.idempotencyKey],
})

const SELECT_BY_KEY = statement(
  'runs_by_idempotency_key',
  `select r.tenant_id as "tenantId", r.idempotency_key as "idempotencyKey", r.run_id as "runId", r.request_digest as "requestDigest",
          case when strpos(r.transitions, E'\\nAUTHORIZED ') = 0 then coalesce(r.error, r.pending->'end'->'error') end as "deniedWith"
     from ${KEYS.from(1)} as x
     join concordat.runs r using (tenant_id, idempotency_key)`,
)

export interface EarlierRun extends IdempotencyKey {
  readonly runId: string
  readonly requestDigest: string
  /** The error that it was denied with, as JSON text; null when it was admitted. */
  readonly deniedWith: string | null
}

/** The runs that hold these idempotency keys. */
export async function runsByIdempotencyKey(tx: Tx, keys: readonly IdempotencyKey[]): Promise<EarlierRun[]> {
  return tx.query<EarlierRun>(SELECT_BY_KEY, KEYS.values(keys))
}
