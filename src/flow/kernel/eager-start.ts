import { RunPhase, transition, transitionLines } from '../../domains/runs/runs.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Claim, NewRun } from './messages.ts'
import { FIRST_LOOK } from './reconcile-due-store.ts'
import { RUN_CREATED, startWrites } from './start-writes.ts'
import { enterStarts } from './starts-pass.ts'
import { ADMITTED, NEW_RUNS } from './submit-store.ts'
import { aliveSql } from './worker-store.ts'

/** A free slot of a worker in this process, kept for a run that is about to be submitted. One of the two is called once. */
export interface EagerSlot {
  readonly workerId: string
  /** The run was started with its submission and is the worker's to execute. */
  begin(claim: Claim): void
  /** It was not, as far as is known: the slot is free again. */
  release(): void
}

/** What differs for a run that is started with its submission; its tenant may have a limit, its worker may be gone. */
const STARTED: Readonly<Record<string, string>> = {
  phase: `case when s.worker_id is null then x.phase else '${RunPhase.EXECUTING}' end`,
  ready_at: 'case when s.worker_id is null then x.ready_at end',
  transitions: 'case when s.worker_id is null then x.transitions else x.transitions || $3::text end',
}
const COLUMNS = NEW_RUNS.names.split(', ').map((name) => STARTED[name] ?? `x.${name}`)

const START = startWrites('claimed', '$2', [RUN_CREATED])

/*
 * A run that nobody else waits before needs no queue: it is inserted as its worker's own, with its trace, and saves the
 * claim's flight. `$2` is the time as RFC 3339 text. The limits of tenants are for claims to count, so theirs are queued.
 */
const INSERT_AND_START = statement(
  'runs_insert_and_start',
  `with ${aliveSql('$1')},
   claimed as (
   insert into concordat.runs (${NEW_RUNS.names}, worker_id, lease_token, active_since, execution_started_at, reconcile_due_at)
   select ${COLUMNS.join(', ')}, s.worker_id, (s.worker_id is not null)::int, s.at, s.at, s.at + ${FIRST_LOOK}
     from ${NEW_RUNS.from(4)} as x
     join concordat.tenants t on t.tenant_id = x.tenant_id
     left join lateral (select worker_id, statement_timestamp() as at from alive where t.max_running is null) s on true
    where ${ADMITTED}
   on conflict do nothing
   returning ctid as address, tenant_id, run_id, agent, agent_version, priority, worker_id, execution_started_at, worker_id is not null as fresh),
   ${START.traced},
   queued as (select *, $2::text as at, left(run_id::text, 15) as moment from claimed where not fresh),
   queued_event as (${START.first('queued')})
   select c.run_id, c.address, c.execution_started_at, t.policies_version from claimed c join concordat.tenants t using (tenant_id)`,
)

interface InsertedRow {
  run_id: string
  address: string
  /** Null: it is queued. */
  execution_started_at: Date | null
  policies_version: bigint
}

/** Inserts runs as the worker's own, with traces and events. By their ids: the claim, or null for one that is queued. */
export async function insertAndStart(
  tx: Tx,
  workerId: string,
  runs: readonly NewRun[],
  at: Date,
): Promise<Map<string, Claim | null>> {
  const start = transition(RunPhase.AUTHORIZED, RunPhase.EXECUTING, at, 'started by the worker beside its submission')
  const values = [workerId, at.toISOString(), transitionLines([start]), ...NEW_RUNS.values(runs)]
  const [, rows] = await Promise.all([enterStarts(tx), tx.query<InsertedRow>(INSERT_AND_START, values)])
  const byId = new Map(runs.map((run) => [run.runId, run]))
  return new Map(
    rows.map((row) => {
      const run = byId.get(row.run_id)
      return [row.run_id, run && row.execution_started_at ? claimOf(run, workerId, row) : null]
    }),
  )
}

function claimOf(run: NewRun, workerId: string, row: InsertedRow): Claim {
  const {
    tenantId,
    runId,
    agent,
    agentVersion,
    agentDigest,
    metadata,
    timeoutMs,
    contractId,
    expectations,
    input,
    apiKeyId,
  } = run
  return {
    tenantId,
    runId,
    workerId,
    leaseToken: 1,
    address: row.address,
    agent,
    agentVersion,
    agentDigest,
    phase: RunPhase.EXECUTING,
    input: input.text,
    metadata,
    timeoutMs,
    activeMs: 0,
    workerLosses: 0,
    createdAt: run.createdAt,
    stop: null,
    pauseRequested: false,
    fresh: true,
    traceGap: null,
    contractId,
    expectations,
    executionStartedAt: row.execution_started_at as Date,
    parentRunId: null,
    rootRunId: null,
    depth: 0,
    ancestors: [],
    apiKeyId,
    policiesVersion: Number(row.policies_version),
    limited: false,
  }
}
