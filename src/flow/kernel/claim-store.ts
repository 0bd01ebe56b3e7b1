import { type AuditExpectation, expectationsSql } from '../../domains/audit/audit.ts'
import { RunPhase, type RunStop, transition, transitionLines } from '../../domains/runs/runs.ts'
import { rowSet, type Statement, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { Ancestor, Claim, ClaimRequest, Lane } from './messages.ts'
import { FIRST_LOOK } from './reconcile-due-store.ts'
import { startWrites } from './start-writes.ts'
import { ENTER_STARTS } from './starts-pass.ts'
import { stopOrderedFor } from './stop-order-store.ts'
import { aliveSql } from './worker-store.ts'

/*
 * Fair claiming by row state. `lane` walks the distinct lanes that have ready runs (a loose scan of index runs_ready:
 * one probe a lane, however long its queue), from the tenant after the one served last and around. `pick` takes from
 * each lane what its limit leaves room for, and only then numbers each tenant's runs: a lane that is full takes no turn
 * of another's. `held` locks in order of turn, so every tenant's first run comes before any tenant's second. Rows that
 * another worker is claiming are skipped.
 */
const LANES_MAX = 128

const LANES = rowSet<Lane>({
  agent: ['text', (lane) => lane.agent],
  version: ['text', (lane) => lane.version],
  digest: ['text', (lane) => lane.digest],
  max_running: ['int', (lane) => lane.maxRunning],
})

/*
 * `$8` is the transition to EXECUTING, `$9` its time as RFC 3339 text. Whoever submits while a claim is on its way, or by
 * a clock that is ahead, has a later one: then that is the time, since nothing is executed before it was there.
 */
const CLAIMED = `
   known as (
     select * from ${LANES.from(3)} as k
   ),
   lane(tenant_id, agent, agent_version, agent_digest, wrapped, rank) as (
     (select tenant_id, agent, agent_version, agent_digest, wrapped, 1 from (
        (select tenant_id, agent, agent_version, agent_digest, false as wrapped from concordat.runs
          where ready_at is not null and tenant_id > $7
          order by tenant_id, agent, agent_version, agent_digest limit 1)
        union all
        (select tenant_id, agent, agent_version, agent_digest, true from concordat.runs
          where ready_at is not null
          order by tenant_id, agent, agent_version, agent_digest limit 1)) first limit 1)
     union all
     select n.* from lane l cross join lateral (
       select * from (
         (select tenant_id, agent, agent_version, agent_digest, l.wrapped, l.rank + 1 from concordat.runs
           where ready_at is not null
             and (tenant_id, agent, agent_version, agent_digest) > (l.tenant_id, l.agent, l.agent_version, l.agent_digest)
           order by tenant_id, agent, agent_version, agent_digest limit 1)
         union all
         (select tenant_id, agent, agent_version, agent_digest, true, l.rank + 1 from concordat.runs
           where ready_at is not null and not l.wrapped
           order by tenant_id, agent, agent_version, agent_digest limit 1)) next limit 1) n
      where l.rank < ${LANES_MAX} and not (n.wrapped and n.tenant_id > $7)
   ),
   open_lane as (
     select l.*, t.policies_version, k.max_running - (
              case when k.max_running is null then 0 else (
                select count(*) from concordat.runs h
                 where h.worker_id is not null and h.tenant_id = l.tenant_id and h.agent = l.agent) end) as lane_room,
            t.max_running - (
              case when t.max_running is null then 0 else (
                select count(*) from concordat.runs h
                 where h.worker_id is not null and h.tenant_id = l.tenant_id) end) as tenant_room
       from lane l
       join known k on (k.agent, k.version, k.digest) = (l.agent, l.agent_version, l.agent_digest)
       join concordat.tenants t on t.tenant_id = l.tenant_id and t.status = 'active'
   ),
   candidate as (
     select l.tenant_id, l.rank, l.tenant_room, l.lane_room, l.policies_version, r.address, r.run_id, r.priority, r.ready_at,
            row_number() over (partition by l.tenant_id, l.agent order by r.priority desc, r.ready_at, r.run_id) as lane_turn
       from open_lane l cross join lateral (
         select ctid as address, run_id, priority, ready_at from concordat.runs q
          where q.ready_at is not null and q.tenant_id = l.tenant_id and q.agent = l.agent
            and q.agent_version = l.agent_version and q.agent_digest = l.agent_digest
          order by q.priority desc, q.ready_at, q.run_id
          limit $2::int + least($2::int, 16)) r
   ),
   pick as (
     select *, row_number() over (partition by tenant_id order by priority desc, ready_at, run_id) as turn
       from candidate where lane_turn <= coalesce(lane_room, lane_turn)
   ),
   ${aliveSql('$1')},
   held as (
     select row.ctid, p.policies_version, p.tenant_room is not null or p.lane_room is not null as limited
       from (select * from pick where turn <= coalesce(tenant_room, turn) order by turn, rank) p
      cross join lateral (
        select r.ctid from concordat.runs r where r.ctid = p.address and r.ready_at is not null
           for update skip locked) row
      limit $2
   ),
   claimed as (
   update concordat.runs r
      set phase = 'EXECUTING', worker_id = alive.worker_id, lease_token = r.lease_token + 1,
          ready_at = null, due_at = null, waiting = null, active_since = statement_timestamp(),
          execution_started_at = coalesce(r.execution_started_at, statement_timestamp()),
          reconcile_due_at = statement_timestamp() + case when r.execution_started_at is null
            then ${FIRST_LOOK}
            else (r.timeout_ms - r.active_ms + ${limits.finalizeGraceMs}) * interval '1 ms' end,
          transitions = case when r.phase <> 'AUTHORIZED' then r.transitions
                             when r.created_at <= (select $9::text::timestamptz) then r.transitions || $8::text
                             else r.transitions || replace($8::text, $9::text,
                               to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) end
     from held, alive
    where r.ctid = held.ctid
   returning r.ctid as address, r.tenant_id, r.run_id, r.worker_id, r.agent, r.agent_version, r.agent_digest, r.phase, r.lease_token, r.input, r.metadata,
             r.timeout_ms, r.active_ms, r.worker_losses, coalesce(r.stop, ${stopOrderedFor('r')}) as stop, r.created_at, r.pause_request is not null as pause_requested,
             r.execution_started_at = r.active_since as fresh,
             r.execution_started_at, r.contract_id, r.parent_run_id, r.root_run_id, r.depth, r.ancestors, r.api_key_id,
             held.policies_version, held.limited)`

/** A contract's expectations once for the runs in a row that have it, which is nearly all of them. */
const CLAIMS = `select claimed.*, case when contract_id is distinct from lag(contract_id) over () then ${expectationsSql('claimed')} end as expectations
   from claimed`

const CLAIM = statement('runs_claim', `with recursive ${CLAIMED} ${CLAIMS}`)

/*
 * Runs that execute for the first time are started in the statement that claims them.
 */
const START = startWrites('claimed', '$9')
const CLAIM_AND_START = statement('runs_claim_and_start', `with recursive ${CLAIMED}, ${START.traced} ${CLAIMS}`)
const CLAIM_UNTRACED = statement('runs_claim_untraced', `with recursive ${CLAIMED}, ${START.untraced} ${CLAIMS}`)

interface ClaimRow {
  address: string
  tenant_id: string
  run_id: string
  agent: string
  agent_version: string
  agent_digest: string
  phase: RunPhase
  lease_token: number
  input: string
  metadata: string | null
  timeout_ms: bigint
  active_ms: bigint
  worker_losses: number
  stop: RunStop | null
  created_at: Date
  pause_requested: boolean
  fresh: boolean
  execution_started_at: Date
  contract_id: string
  /** JSON text; null where the row before has the same contract. */
  expectations: string | null
  policies_version: bigint
  parent_run_id: string | null
  root_run_id: string | null
  depth: number
  /** Null: nobody's child. */
  ancestors: Ancestor[] | null
  api_key_id: string | null
  limited: boolean
}

/** Claims up to `slots` ready runs for the worker, tenants in turn. None when the worker's own lease is gone. */
export function claimRuns(tx: Tx, request: ClaimRequest, at: Date): Promise<Claim[]> {
  return claim(tx, CLAIM, request, at)
}

/** The same; and those that execute for the first time are started, with their traces or without. */
export function claimAndStart(tx: Tx, request: ClaimRequest, traced: boolean, at: Date): Promise<Claim[]> {
  return claim(tx, traced ? CLAIM_AND_START : CLAIM_UNTRACED, request, at)
}

async function claim(tx: Tx, sql: Statement, request: ClaimRequest, at: Date): Promise<Claim[]> {
  const { workerId, slots, lanes, afterTenant } = request
  const times = [startTransition(at), at.toISOString()]
  const rows = await tx.query<ClaimRow>(sql, [workerId, slots, ...LANES.values(lanes), afterTenant, ...times])
  return toClaims(rows, workerId)
}

function startTransition(at: Date): string {
  return transitionLines([transition(RunPhase.AUTHORIZED, RunPhase.EXECUTING, at, 'claimed by a worker')])
}

const ALONE = `with claimed as (
     select tenant_id, run_id, agent, agent_version, worker_id, true as fresh from concordat.runs where tenant_id = $1 and run_id = $2
   )`
const START_ALONE = startWrites('claimed', '$3')
const START_RUN = statement('run_start', `${ALONE}, ${START_ALONE.traced} select from claimed`)
const START_UNTRACED = statement('run_start_untraced', `${ALONE}, ${START_ALONE.untraced} select from claimed`)

/** Starts one claimed run by itself. */
export async function startRun(tx: Tx, { tenantId, runId }: Claim, traced: boolean, at: Date): Promise<void> {
  await tx.query(traced ? START_RUN : START_UNTRACED, [tenantId, runId, at.toISOString()])
}

/*
 * Statistics that know nothing of the queue make all of a tenant's runs, sorted, look as cheap as the queue in its order:
 * a claim then took 10 ms where 3 do, and longer with each run that had ended. Without sorting only the queue's index is left.
 */
const BEGIN_CLAIM = statement(
  'claims_begin',
  `select ${ENTER_STARTS}, set_config('enable_sort', 'off', true),
          case when $1 or exists (select from concordat.tenants where max_running is not null)
               then pg_advisory_xact_lock(hashtext('concordat.claims')) end`,
)

/**
 * Must be the first statement of a claim's transaction. Where anything has a `maxRunning`, claims also take turns: two
 * that count at the same time would both find room.
 */
export async function beginClaim(tx: Tx, { lanes }: ClaimRequest): Promise<void> {
  await tx.query(BEGIN_CLAIM, [lanes.some((lane) => lane.maxRunning !== null)])
}

const HELD_BY = statement(
  'runs_held_by_worker',
  `select runs.ctid as address, tenant_id, run_id, agent, agent_version, agent_digest, phase, lease_token, input, metadata, timeout_ms, active_ms,
          worker_losses, coalesce(stop, ${stopOrderedFor('runs')}) as stop, runs.created_at, pause_request is not null as pause_requested, false as fresh, execution_started_at,
          contract_id, ${expectationsSql('runs')} as expectations, parent_run_id, root_run_id, depth, ancestors, api_key_id, policies_version, true as limited
     from concordat.runs join concordat.tenants using (tenant_id) where worker_id = $1 and not (run_id = any($2::uuid[]))`,
)

/** Runs that the worker holds by the database without knowing it: the reply to its claim was lost. */
export async function claimsUnknownTo(tx: Tx, workerId: string, known: readonly string[]): Promise<Claim[]> {
  const rows = await tx.query<ClaimRow>(HELD_BY, [workerId, known])
  return toClaims(rows, workerId)
}

function toClaims(rows: readonly ClaimRow[], workerId: string): Claim[] {
  const contracts = new Map<string, AuditExpectation[]>()
  return rows.map((row) => {
    if (row.expectations !== null) contracts.set(row.contract_id, JSON.parse(row.expectations))
    return toClaim(row, workerId, contracts.get(row.contract_id) as AuditExpectation[])
  })
}

function toClaim(row: ClaimRow, workerId: string, expectations: readonly AuditExpectation[]): Claim {
  return {
    tenantId: row.tenant_id,
    runId: row.run_id,
    workerId,
    leaseToken: row.lease_token,
    address: row.address,
    agent: row.agent,
    agentVersion: row.agent_version,
    agentDigest: row.agent_digest,
    phase: row.phase,
    input: row.input,
    metadata: row.metadata,
    timeoutMs: Number(row.timeout_ms),
    activeMs: Number(row.active_ms),
    workerLosses: row.worker_losses,
    stop: row.stop,
    createdAt: row.created_at,
    pauseRequested: row.pause_requested,
    fresh: row.fresh,
    traceGap: null,
    executionStartedAt: row.execution_started_at,
    contractId: row.contract_id,
    expectations,
    parentRunId: row.parent_run_id,
    rootRunId: row.root_run_id,
    depth: row.depth,
    ancestors: row.ancestors ?? [],
    apiKeyId: row.api_key_id,
    policiesVersion: Number(row.policies_version),
    limited: row.limited,
  }
}
