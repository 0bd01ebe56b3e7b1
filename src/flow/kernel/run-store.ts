import { type AuditExpectation, askForLooksSql, expectationsSql } from '../../domains/audit/audit.ts'
import { releaseReservations } from '../../domains/budgets/budgets.ts'
import { type MetViolation, violationsSql } from '../../domains/policies/policies.ts'
import {
  COUNTED_STEPS,
  type PendingEnd,
  type RunKey,
  type RunPhase,
  type Transition,
  transitionLines,
} from '../../domains/runs/runs.ts'
import { eachOnce } from '../../foundation/json.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { endFamilies } from './child-store.ts'
import type { FinishedRun, HeldRun, Lease, Release } from './messages.ts'
import { FIRST_LOOK } from './reconcile-due-store.ts'
import { aliveSql } from './worker-store.ts'

const LEASES = rowSet<Lease>({
  tenant_id: ['text', (lease) => lease.tenantId],
  run_id: ['uuid', (lease) => lease.runId],
  worker_id: ['uuid', (lease) => lease.workerId],
  lease_token: ['int', (lease) => lease.leaseToken],
})

const HOLD = statement(
  'runs_hold',
  `with ${aliveSql('any($1::uuid[])')}
   select r.tenant_id, r.run_id, r.agent, r.phase, r.stop, r.contract_id, ${expectationsSql('r')} as expectations,
          r.execution_started_at, r.parent_run_id, s.*, c.*,
          ${violationsSql('r')} as violations,
          array(select a.domain || '/' || a.action from concordat.audit_acks a
                 where a.tenant_id = r.tenant_id and a.run_id = r.run_id and a.status = 'SUCCESS') as acked,
          (select true from concordat.traces t
            where t.tenant_id = r.tenant_id and t.run_id = r.run_id limit 1) is not null as trace_started
     from ${LEASES.from(2)} as x
     cross join lateral (
       select * from concordat.runs r
        where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.lease_token = x.lease_token
          and r.worker_id is not distinct from x.worker_id
          and (x.worker_id is null or x.worker_id in (select worker_id from alive))
        limit 1 for no key update) r
     cross join lateral (
       select count(*)::int as steps, (count(*) filter (where status = 'failed'))::int as failed_steps,
              count(trace_gap)::int as trace_gaps, sum(tokens_in)::bigint as tokens_in, sum(tokens_out)::bigint as tokens_out,
              sum(cost_nano_usd)::bigint as cost_nano_usd, ${COUNTED_STEPS}
         from concordat.steps st
        where st.tenant_id = r.tenant_id and st.run_id = r.run_id and st.status in ('succeeded', 'failed')) s
     cross join lateral (
       select coalesce(bool_or(c.ended_at is null), false) as has_open_children, sum(c.tokens_in)::bigint as child_tokens_in,
              sum(c.tokens_out)::bigint as child_tokens_out, sum(c.cost_nano_usd)::bigint as child_cost_nano_usd
         from concordat.runs c where c.tenant_id = r.tenant_id and c.parent_run_id = r.run_id) c
`,
)

interface HeldRow {
  tenant_id: string
  run_id: string
  agent: string
  phase: RunPhase
  stop: HeldRun['stop']
  contract_id: string
  /** JSON text. */
  expectations: string
  acked: string[]
  trace_started: boolean
  execution_started_at: Date | null
  violations: MetViolation[]
  tool_calls: number
  uncosted_steps: number
  steps: number
  failed_steps: number
  trace_gaps: number
  tokens_in: bigint | null
  tokens_out: bigint | null
  cost_nano_usd: bigint | null
  parent_run_id: string | null
  has_open_children: boolean
  child_tokens_in: bigint | null
  child_tokens_out: bigint | null
  child_cost_nano_usd: bigint | null
}

/** Whoever locks several runs does it in one order, so that no two wait for each other. */
function inLockOrder<Run extends RunKey>(runs: readonly Run[]): Run[] {
  return runs.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))
}

/** Locks the runs whose lease still holds until the transaction ends. What is not returned is lost to its holder. */
export async function holdRuns(tx: Tx, leases: readonly Lease[]): Promise<Map<string, HeldRun>> {
  const rows = await tx.query<HeldRow>(HOLD, [
    [...new Set(leases.map((lease) => lease.workerId))],
    ...LEASES.values(inLockOrder(leases)),
  ])
  const read = eachOnce<AuditExpectation[]>(JSON.parse)
  return new Map(rows.map((row) => [row.run_id, toHeld(row, read(row.expectations))]))
}

function toHeld(row: HeldRow, expectations: readonly AuditExpectation[]): HeldRun {
  return {
    tenantId: row.tenant_id,
    runId: row.run_id,
    agent: row.agent,
    phase: row.phase,
    stop: row.stop,
    contractId: row.contract_id,
    expectations,
    acked: row.acked,
    traceStarted: row.trace_started,
    executionStartedAt: row.execution_started_at,
    violations: row.violations,
    totals: {
      steps: row.steps,
      failedSteps: row.failed_steps,
      traceGaps: row.trace_gaps,
      toolCalls: row.tool_calls,
      uncostedSteps: row.uncosted_steps,
      tokensIn: numberOf(both(row.tokens_in, row.child_tokens_in)),
      tokensOut: numberOf(both(row.tokens_out, row.child_tokens_out)),
      costNanoUsd: both(row.cost_nano_usd, row.child_cost_nano_usd),
    },
    parentRunId: row.parent_run_id,
    hasOpenChildren: row.has_open_children,
  }
}

/** Absent is not zero. */
function both(own: bigint | null, children: bigint | null): bigint | null {
  return own === null || children === null ? (own ?? children) : own + children
}

function numberOf(sum: bigint | null): number | null {
  return sum === null ? null : Number(sum)
}

const ENDED_UNDER = statement(
  'runs_ended_under_token',
  `select r.run_id, r.phase, r.outcome
     from ${LEASES.from(1)} as x
     cross join lateral (
       select r.run_id, r.phase, r.outcome from concordat.runs r
        where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.lease_token = x.lease_token
          and r.phase in ('COMPLETED', 'FAILED')
        limit 1) r`,
)

export interface EndedRun {
  readonly run_id: string
  readonly phase: RunPhase
  readonly outcome: FinishedRun['outcome']
}

/** Those of the leases' runs that ended under that very token: the commit went through, only its reply was lost. */
export async function endedUnder(tx: Tx, leases: readonly Lease[]): Promise<Map<string, EndedRun>> {
  const rows = await tx.query<EndedRun>(ENDED_UNDER, LEASES.values(leases))
  return new Map(rows.map((row) => [row.run_id, row]))
}

const ENDS = rowSet<FinishedRun>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  lease_token: ['int', (run) => run.leaseToken],
  address: ['tid', (run) => run.address],
  phase: ['text', (run) => run.phase],
  outcome: ['text', (run) => run.outcome],
  reason: ['text', (run) => run.reason],
  output: ['json', ({ output }) => output?.text],
  output_size: ['int', ({ output }) => output?.sizeBytes],
  output_digest: ['text', ({ output }) => output?.digest],
  error: ['json', ({ error }) => error && JSON.stringify(error)],
  transitions: ['text', (run) => transitionLines(run.transitions)],
  observability: ['text', (run) => run.observability],
  steps: ['int', (run) => run.steps],
  failed_steps: ['int', (run) => run.failedSteps],
  trace_gaps: ['int', (run) => run.traceGaps],
  tokens_in: ['bigint', (run) => run.tokensIn],
  tokens_out: ['bigint', (run) => run.tokensOut],
  cost_nano_usd: ['bigint', (run) => run.costNanoUsd],
  stop: ['jsonb', ({ stop }) => stop && JSON.stringify(stop)],
  ended_at: ['timestamptz', (run) => run.endedAt],
  policies_version: ['bigint', ({ known }) => known?.policiesVersion],
  contract_id: ['uuid', ({ known }) => known?.run.contractId],
})

/*
 * The end of runs, and when they are held against their contracts after it.
 * A run that nobody has locked before must be as its worker knows it: still under its lease, not stopped, with the same
 * contract, under the same policies. If one is not, the statement fails, and with it the whole transaction: nothing of
 * any run's end is kept.
 */
const FINISH = statement(
  'runs_finish',
  `with ${aliveSql('any($1::uuid[])')},
   finished as (
   update concordat.runs r
      set phase = x.phase, outcome = x.outcome, reason = x.reason, output = x.output, output_size = x.output_size,
          output_digest = x.output_digest, error = x.error, transitions = r.transitions || x.transitions,
          observability = x.observability, step_count = x.steps, failed_steps = x.failed_steps, trace_gaps = x.trace_gaps,
          tokens_in = x.tokens_in, tokens_out = x.tokens_out, cost_nano_usd = x.cost_nano_usd,
          stop = case when x.stop is null then r.stop else coalesce(r.stop, '{}') || x.stop end,
          active_ms = r.active_ms + coalesce(extract(epoch from x.ended_at - r.active_since) * 1000, 0)::bigint,
          active_since = null, worker_id = null, waiting = null, ready_at = null, due_at = null, pending = null,
          paused = false, execution_ended_at = coalesce(r.execution_ended_at, x.ended_at), ended_at = x.ended_at,
          reconcile_due_at = null
     from ${ENDS.from(3)} as x
    cross join lateral (
      select coalesce(
        (select a.ctid from concordat.runs a
          where a.ctid = x.address and a.tenant_id = x.tenant_id and a.run_id = x.run_id),
        (select a.ctid from concordat.runs a where a.tenant_id = x.tenant_id and a.run_id = x.run_id)) as address) a
    where r.ctid = a.address and r.lease_token = x.lease_token and r.phase not in ('COMPLETED', 'FAILED')
      and (x.policies_version is null
           or (r.worker_id in (select worker_id from alive) and r.phase = 'EXECUTING' and r.stop is null
               and r.contract_id = x.contract_id
               and x.policies_version = (select t.policies_version from concordat.tenants t where t.tenant_id = r.tenant_id)))
   returning r.tenant_id, r.run_id, r.ended_at, r.phase),
   look as (${askForLooksSql(`select tenant_id, run_id, ended_at + case phase when 'COMPLETED'
      then interval '${limits.reconcileCompletedMs} ms' else interval '${limits.reconcileFailedMs} ms' end from finished`)})
   select concordat.require_rows(count(*), $2, 'runs') from finished`,
)

/**
 * The last write of runs, with what it means for their parents and children; they keep nothing reserved. Fails when one of them has ended, or is no
 * longer as it was known.
 */
export async function finishRuns(tx: Tx, runs: readonly FinishedRun[]): Promise<void> {
  const workers = new Set(runs.flatMap(({ known }) => known?.workerId ?? []))
  await Promise.all([
    tx.query(FINISH, [[...workers], runs.length, ...ENDS.values(inLockOrder(runs))]),
    endFamilies(tx, runs),
    releaseReservations(
      tx,
      runs.filter(({ reserves }) => reserves),
      'ended',
    ),
  ])
}

/** SET clauses that take a run off its worker and bank the time that it executed. */
export const LET_GO = `worker_id = null, active_since = null,
          active_ms = active_ms + coalesce(extract(epoch from clock_timestamp() - active_since) * 1000, 0)::bigint`

const RELEASE = statement(
  'runs_release',
  `update concordat.runs
      set ${LET_GO}, waiting = $5, due_at = case when signal_count > $7::int then null else $6::timestamptz end,
          ready_at = case when $6::timestamptz is null or signal_count > $7::int then clock_timestamp() end
    where tenant_id = $1 and run_id = $2 and worker_id = $3 and lease_token = $4 and stop is null and pause_request is null
   returning run_id`,
)

/** Gives the slot back and waits. False when the lease is lost, or a stop or the request of a pause came first. */
export async function releaseRun(tx: Tx, { lease, waiting, dueAt, signalsSeen }: Release): Promise<boolean> {
  const { tenantId, runId, workerId, leaseToken } = lease
  const due = dueAt?.toISOString() ?? null
  const rows = await tx.query(RELEASE, [tenantId, runId, workerId, leaseToken, waiting, due, signalsSeen])
  return rows.length > 0
}

const BLOCK = statement(
  'runs_block',
  `update concordat.runs
      set ${LET_GO}, phase = $4, pending = $5, due_at = clock_timestamp() + $6::int * interval '1 ms', ready_at = null,
          execution_ended_at = coalesce(execution_ended_at, clock_timestamp()), transitions = transitions || $7::text,
          reconcile_due_at = case when execution_ended_at is null
            then clock_timestamp() + ${FIRST_LOOK} else reconcile_due_at end
    where tenant_id = $1 and run_id = $2 and lease_token = $3 and phase not in ('COMPLETED', 'FAILED')
   returning run_id`,
)

export interface Block extends RunKey {
  readonly leaseToken: number
  readonly phase: RunPhase
  readonly pending: PendingEnd
  readonly retryInMs: number
  readonly transitions: readonly Transition[]
}

/** Parks a run that can't be finalised: its end is kept, its slot is free, it is tried again when due. */
export async function blockRun(tx: Tx, block: Block): Promise<boolean> {
  const rows = await tx.query(BLOCK, [
    block.tenantId,
    block.runId,
    block.leaseToken,
    block.phase,
    JSON.stringify(block.pending),
    block.retryInMs,
    transitionLines(block.transitions),
  ])
  return rows.length > 0
}
