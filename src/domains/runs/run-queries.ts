import { AppError } from '../../foundation/app-error.ts'
import { eachOnce } from '../../foundation/json.ts'
import { usdFromNano } from '../../foundation/money.ts'
import { rowSet, type Statement, statement, type Tx } from '../../foundation/storage/storage.ts'
import {
  type RunOutcome,
  type RunPhase,
  type RunStatus,
  readTransitions,
  type Transition,
  type Waiting,
} from './phases.ts'
import type { PendingEnd, RunKey, RunStop } from './run.ts'

/** A run as it is stored, payloads as JSON text. Field names are the columns' in camelCase. */
export interface RunRow extends RunKey {
  readonly agent: string
  readonly agentVersion: string
  readonly phase: RunPhase
  readonly status: RunStatus
  readonly outcome: RunOutcome | null
  readonly waiting: Waiting | null
  readonly reason: string | null
  readonly priority: number
  readonly readyAt: Date | null
  readonly dueAt: Date | null
  readonly workerId: string | null
  readonly leaseToken: number
  readonly workerLosses: number
  readonly timeoutMs: number
  readonly activeMs: number
  readonly activeSince: Date | null
  readonly executionStartedAt: Date | null
  readonly executionEndedAt: Date | null
  readonly stop: RunStop | null
  readonly paused: boolean
  /** A pause that a person asked for and that has not begun; once it is delivered, no further step begins. */
  readonly pauseRequest: {
    pauseId: string
    requestedAt: string
    by: string
    as: string
    why: string
    deliveredAt?: string
  } | null
  /** Since when it goes by other policies than those of its start: a person resumed it then. */
  readonly policiesAsOf: Date | null
  readonly pending: PendingEnd | null
  readonly transitions: readonly Transition[]
  readonly expectations: readonly StoredExpectation[]
  readonly observability: string
  readonly idempotencyKey: string | null
  readonly createdAt: Date
  readonly endedAt: Date | null
  readonly input: string
  readonly output: string | null
  readonly error: string | null
  readonly metadata: string | null
  /** The run that has started it, by which step, and the one at the top; null: it is nobody's child. */
  readonly parentRunId: string | null
  readonly parentStepKey: string | null
  readonly rootRunId: string | null
  /** 0: nobody's child. */
  readonly depth: number
  /** The API key that it, or the run at the top, was submitted with. */
  readonly apiKeyId: string | null
}

/** The contract's rows as the run keeps them; their meaning is the audit domain's. */
export interface StoredExpectation {
  readonly domain: string
  readonly action: string
  readonly deadlineMs: number | null
  readonly anchor: 'EXECUTION_START' | 'EXECUTION_END'
}

/** Contracts are the audit domain's, which siblings don't import; runs only name theirs. */
const expectationsSql = (alias: string) =>
  `(select c.expectations from concordat.audit_contracts c where c.contract_id = ${alias}.contract_id)`

const FIND = statement(
  'runs_find',
  `select tenant_id as "tenantId", run_id as "runId", agent, agent_version as "agentVersion", phase, status, outcome, waiting,
          reason, priority, ready_at as "readyAt", due_at as "dueAt", worker_id as "workerId", lease_token as "leaseToken",
          worker_losses as "workerLosses", timeout_ms::float8 as "timeoutMs", active_ms::float8 as "activeMs", active_since as "activeSince",
          execution_started_at as "executionStartedAt", execution_ended_at as "executionEndedAt", stop,
          paused, pause_request as "pauseRequest", policies_as_of as "policiesAsOf", pending, transitions, ${expectationsSql('runs')} as expectations, observability, idempotency_key as "idempotencyKey",
          created_at as "createdAt", ended_at as "endedAt", input, output, error, metadata,
          parent_run_id as "parentRunId", parent_step_key as "parentStepKey", root_run_id as "rootRunId", depth, api_key_id as "apiKeyId"
     from concordat.runs
    where tenant_id = any(case when $1::text is null then array(select tenant_id from concordat.tenants) else array[$1] end)
      and run_id = $2`,
)

/** Null: its contract is gone, or no list any more, as by a hand. Nothing can be said then of what was expected. */
function readExpectations(text: string | null): StoredExpectation[] | null {
  const read: unknown = JSON.parse(text ?? 'null')
  const isList =
    Array.isArray(read) && read.every((each) => typeof each?.domain === 'string' && typeof each.action === 'string')
  return isList ? read : null
}

/** One run with its payloads; of any tenant when `tenantId` is null (for operators). Null when there is none. */
export async function findRun(tx: Tx, tenantId: string | null, runId: string): Promise<RunRow | null> {
  const [row] = await tx.query<
    Omit<RunRow, 'pending' | 'transitions' | 'expectations'> & {
      readonly pending: string | null
      readonly transitions: string
      readonly expectations: string | null
    }
  >(FIND, [tenantId, runId])
  if (!row) return null
  const pending = row.pending === null ? null : JSON.parse(row.pending)
  return {
    ...row,
    pending,
    transitions: readTransitions(row.transitions),
    expectations: readExpectations(row.expectations) ?? [],
  }
}

const KEYS = rowSet<RunKey>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
})

const STATUSES = statement(
  'runs_statuses',
  `select r.run_id as "runId", r.phase, r.status, r.reason, r.output, r.error
     from ${KEYS.from(1)} as x
    cross join lateral (
      select * from concordat.runs r
       where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.phase in ('COMPLETED', 'FAILED') limit 1) r`,
)

export interface EndedStatus {
  readonly runId: string
  readonly phase: RunPhase
  readonly status: RunOutcome
  readonly reason: string | null
  readonly output: string | null
  readonly error: string | null
}

/** How those of the runs ended that have; for whoever waits for results. */
export async function endedAmong(tx: Tx, runs: readonly RunKey[]): Promise<EndedStatus[]> {
  return tx.query<EndedStatus>(STATUSES, KEYS.values(runs))
}

/** A run that another one has started. */
export interface ChildRun {
  readonly runId: string
  readonly agent: string
  readonly status: RunStatus
  /** The parent's step. */
  readonly stepKey: string
}

const CHILDREN_MAX = 1_000

/** The runs that a run has started, in that order. */
export async function childrenOf(tx: Tx, { tenantId, runId }: RunKey): Promise<ChildRun[]> {
  return tx.query<ChildRun>(
    `select run_id as "runId", agent, status, parent_step_key as "stepKey" from concordat.runs
      where tenant_id = $1 and parent_run_id = $2 order by run_id limit $3`,
    [tenantId, runId, CHILDREN_MAX],
  )
}

/** How the stops of an order went. */
export interface StopCounts {
  /** Runs that it stopped. */
  readonly requested: number
  /** Whose worker has heard it. */
  readonly delivered: number
  /** Whose steps have ended upon it. */
  readonly confirmed: number
  /** That are over, and a step ignored its signal: what it returns is not recorded. */
  readonly unconfirmed: number
  /** That a worker still executes. */
  readonly open: number
}

const STOP_COUNTS = statement(
  'runs_stop_counts',
  `select count(*)::int as requested, (count(*) filter (where stop ? 'deliveredAt'))::int as delivered,
          (count(stop->>'confirmedAt'))::int as confirmed,
          (count(*) filter (where stop->'confirmedAt' = 'null'))::int as unconfirmed,
          (count(*) filter (where worker_id is not null))::int as open
     from concordat.runs where tenant_id = $1 and stop->>'orderId' = $2 and stop ? 'orderId'`,
)

export async function stopCounts(
  tx: Tx,
  { tenantId, orderId }: { readonly tenantId: string; readonly orderId: string },
): Promise<StopCounts> {
  const [counts] = await tx.query<StopCounts>(STOP_COUNTS, [tenantId, orderId])
  return counts ?? { requested: 0, delivered: 0, confirmed: 0, unconfirmed: 0, open: 0 }
}

/** What a run's audit contract is held against: the contract, and what its deadlines count from. */
export interface ContractRow extends RunKey {
  readonly phase: RunPhase
  readonly expectations: readonly StoredExpectation[]
  readonly executionStartedAt: Date | null
  readonly executionEndedAt: Date | null
  readonly activeSince: Date | null
  readonly activeMs: number
  /** The domain that refuses its end, and why; null unless it is parked. */
  readonly blockedBy: string | null
  readonly blockedBecause: string | null
}

const CONTRACTS = statement(
  'runs_contracts',
  `select r.*
     from ${KEYS.from(1)} as x
    cross join lateral (
      select tenant_id as "tenantId", run_id as "runId", phase, ${expectationsSql('a')} as expectations, execution_started_at as "executionStartedAt",
             execution_ended_at as "executionEndedAt", active_since as "activeSince", active_ms::float8 as "activeMs",
             pending
        from concordat.runs a where a.tenant_id = x.tenant_id and a.run_id = x.run_id limit 1 for no key update) r`,
)

/** The contracts of runs, which are locked; runs that are not there are left out. Fails with `CONTRACT_UNMET` for one that can't be read. */
export async function contractsOf(tx: Tx, runs: readonly RunKey[]): Promise<ContractRow[]> {
  type Row = Omit<ContractRow, 'blockedBy' | 'blockedBecause' | 'expectations'> & {
    readonly pending: string | null
    readonly expectations: string
  }
  const expectationsIn = eachOnce((text) => {
    const expectations = readExpectations(text)
    if (expectations) return expectations
    throw new AppError('CONTRACT_UNMET', 'its contract is gone, or no list of expectations any more')
  })
  const rows = await tx.query<Row>(CONTRACTS, KEYS.values(runs))
  // Parsed here: PostgreSQL refuses to read any member of a JSON text that holds a NUL somewhere.
  return rows.map(({ pending, ...row }) => {
    const { blockedBy, error } = pending === null ? NOT_BLOCKED : (JSON.parse(pending) as PendingEnd)
    return { ...row, expectations: expectationsIn(row.expectations), blockedBy, blockedBecause: error }
  })
}

const NOT_BLOCKED = { blockedBy: null, error: null } as const

const ENDED_SINCE = statement(
  'runs_ended_after',
  `select tenant_id as "tenantId", run_id as "runId" from concordat.runs
    where tenant_id = $1 and run_id > $2::uuid and phase in ('COMPLETED', 'FAILED') order by run_id limit $3`,
)

/** A page of a tenant's ended runs in the order of their submission, those after one id. */
export async function endedAfter(tx: Tx, tenantId: string, runId: string, limit: number): Promise<RunKey[]> {
  return tx.query<RunKey>(ENDED_SINCE, [tenantId, runId, limit])
}

export interface RunFilter {
  readonly tenantId: string
  readonly status?: RunStatus | undefined
  readonly agent?: string | undefined
  /** Only runs that this one has started. */
  readonly parent?: string | undefined
  /** True: only runs whose end is pending because a domain refuses it. */
  readonly parked?: boolean | undefined
  /** Runs older than this one: the last of the page before. */
  readonly before?: string | undefined
  /** 1 to 1,000. */
  readonly limit: number
}

/** A run in a list, without payloads; its words are those of `runs.get`. */
export interface RunSummary extends RunKey {
  readonly agent: string
  readonly agentVersion: string
  readonly phase: RunPhase
  readonly status: RunStatus
  readonly waiting: Waiting | null
  /** Its end is pending: a domain refuses it, and it is tried again when due. */
  readonly parked: boolean
  /** Of a run that is paused. */
  readonly pause: {
    readonly reason: string
    readonly message: string
    /** In ISO 8601, as the other time. */
    readonly since: string
    readonly timeoutAt: string
    readonly onTimeout: 'TERMINATE' | 'CONTINUE' | 'ESCALATE'
    readonly escalated: boolean
  } | null
  readonly reason: string | null
  /** Counted at its end; 0 before. */
  readonly stepCount: number
  /** Of its steps, added up at its end; null when none has a cost. */
  readonly costUsd: number | null
  readonly createdAt: Date
  readonly endedAt: Date | null
}

/** A page, newest first; a filter that has an index of its own has a statement of its own. */
const pageOf = (name: string, filter: string): Statement =>
  statement(
    name,
    `select tenant_id as "tenantId", run_id as "runId", agent, agent_version as "agentVersion", phase, status, waiting, reason,
            created_at as "createdAt", ended_at as "endedAt", step_count as "stepCount", cost_nano_usd as "costNanoUsd",
            pending is not null as parked,
            case when paused then (
              select jsonb_build_object('reason', p.reason, 'message', p.message, 'since', p.paused_at,
                                        'timeoutAt', p.timeout_at, 'onTimeout', p.on_timeout,
                                        'escalated', p.escalated_at is not null)
                from concordat.pauses p
               where p.tenant_id = r.tenant_id and p.run_id = r.run_id and p.ended_at is null) end as pause
       from concordat.runs r
      where tenant_id = $1 and run_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        and ($3::text is null or status = $3) and ($4::text is null or agent = $4)
        and (not $5::boolean or pending is not null) ${filter}
      order by run_id desc limit $6`,
  )

const PAGE = pageOf('runs_page', '')
const PAGE_OF_CHILDREN = pageOf('runs_page_of_children', 'and parent_run_id = $7::uuid')

/** A page of a tenant's runs, newest first, without payloads. */
export async function listRuns(tx: Tx, filter: RunFilter): Promise<RunSummary[]> {
  type Row = Omit<RunSummary, 'costUsd'> & { readonly costNanoUsd: bigint | null }
  const { tenantId, before = null, status = null, agent = null, parked = false, parent, limit } = filter
  const values = [tenantId, before, status, agent, parked, limit]
  const rows = await (parent === undefined
    ? tx.query<Row>(PAGE, values)
    : tx.query<Row>(PAGE_OF_CHILDREN, [...values, parent]))
  return rows.map(({ costNanoUsd, ...run }) => {
    return { ...run, costUsd: costNanoUsd === null ? null : usdFromNano(costNanoUsd) }
  })
}
