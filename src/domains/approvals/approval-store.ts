import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { ApprovalState } from './approval-rules.ts'

/* All writes are made by somebody who holds the run's row locked, beside what they do to the run. */

interface RunKey {
  readonly tenantId: string
  readonly runId: string
}

/** What somebody is asked. */
export interface NewApproval extends RunKey {
  readonly approvalId: string
  readonly stepKey: string
  /** `REPEAT`: whether a step that may have acted already is to run again. */
  readonly purpose: 'ACTION' | 'REPEAT'
  readonly agent: string
  /** SHA-256 over the exact action. */
  readonly digest: string
  readonly message: string
  readonly approvers: readonly string[]
  /** The policy that asks for it; null: the agent does. */
  readonly policy: string | null
  readonly requestedAt: Date
  readonly expiresAt: Date | null
}

export interface Approval extends NewApproval {
  readonly state: ApprovalState
  readonly decidedAt: Date | null
  readonly decidedBy: string | null
  readonly decidedAs: string | null
  readonly note: string | null
  readonly consumedAt: Date | null
}

const INSERT = statement(
  'approvals_insert',
  `insert into concordat.approvals (tenant_id, run_id, approval_id, step_key, purpose, agent, state, digest, message,
                                    approvers, policy, requested_at, expires_at, action)
   values ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13)
   on conflict (tenant_id, run_id, approval_id) do nothing returning true`,
)

/** `action`: what people see of it, as it is stored. False: it is there already. */
export async function insertApproval(tx: Tx, approval: NewApproval, action: string): Promise<boolean> {
  const { tenantId, runId, approvalId, stepKey, purpose, agent, digest, message, approvers, policy } = approval
  const { requestedAt, expiresAt } = approval
  const times = [requestedAt.toISOString(), expiresAt?.toISOString() ?? null]
  const asked = [tenantId, runId, approvalId, stepKey, purpose, agent, digest, message, approvers, policy]
  return (await tx.query(INSERT, [...asked, ...times, action])).length > 0
}

const COLUMNS = `a.tenant_id as "tenantId", a.run_id as "runId", a.approval_id as "approvalId", a.step_key as "stepKey",
          a.purpose, a.agent, a.state, a.digest, a.message, a.approvers, a.policy, a.requested_at as "requestedAt",
          a.expires_at as "expiresAt", a.decided_at as "decidedAt", a.decided_by as "decidedBy",
          a.decided_as as "decidedAs", a.note, a.consumed_at as "consumedAt"`

const SUPERSEDE = statement(
  'approvals_supersede',
  `update concordat.approvals a set state = 'expired'
    where a.tenant_id = $1 and a.run_id = $2 and a.step_key = $3 and a.state = 'approved' and a.approval_id <> $4
   returning ${COLUMNS}`,
)

/** What was approved at this step and was not enough for it counts no more: somebody else is asked. */
export async function supersedeApprovals(
  tx: Tx,
  { tenantId, runId, stepKey, approvalId }: Pick<NewApproval, 'tenantId' | 'runId' | 'stepKey' | 'approvalId'>,
): Promise<Approval[]> {
  return tx.query<Approval>(SUPERSEDE, [tenantId, runId, stepKey, approvalId])
}

const AT = statement(
  'approvals_at_step',
  `select ${COLUMNS} from concordat.approvals a
    where a.tenant_id = $1 and a.run_id = $2 and a.step_key = $3 order by a.requested_at desc, a.approval_id desc limit 1`,
)

/** The latest approval that was asked for at a step; null when none was. */
export async function approvalAt(tx: Tx, { tenantId, runId }: RunKey, stepKey: string): Promise<Approval | null> {
  const [row] = await tx.query<Approval>(AT, [tenantId, runId, stepKey])
  return row ?? null
}

const PENDING = statement(
  'approvals_pending',
  `select ${COLUMNS} from concordat.approvals a where a.tenant_id = $1 and a.run_id = $2 and a.state = 'pending' limit 1`,
)

const RUNS = rowSet<RunKey>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })
const PENDING_OF_RUNS = statement(
  'approvals_pending_of_runs',
  `select x.run_id as "runId" from ${RUNS.from(1)} as x
    cross join lateral (
      select from concordat.approvals a
       where a.tenant_id = x.tenant_id and a.run_id = x.run_id and a.state = 'pending' limit 1) a`,
)

/** The ids of those of the runs that wait for an approval. */
export async function awaitingApproval(tx: Tx, runs: readonly RunKey[]): Promise<Set<string>> {
  const rows = await tx.query<RunKey>(PENDING_OF_RUNS, RUNS.values(runs))
  return new Set(rows.map(({ runId }) => runId))
}

/** The approval that a run waits for: one at a time. */
export async function pendingApproval(tx: Tx, { tenantId, runId }: RunKey): Promise<Approval | null> {
  const [row] = await tx.query<Approval>(PENDING, [tenantId, runId])
  return row ?? null
}

const FIND = statement(
  'approvals_find',
  `select ${COLUMNS} from concordat.approvals a
    where a.tenant_id = any(case when $1::text is null then array(select tenant_id from concordat.tenants) else array[$1] end)
      and a.approval_id = $2`,
)

/** One approval; of any tenant when `tenantId` is null. Null when there is none. */
export async function findApproval(tx: Tx, tenantId: string | null, approvalId: string): Promise<Approval | null> {
  const [row] = await tx.query<Approval>(FIND, [tenantId, approvalId])
  return row ?? null
}

/** What an approval is asked for, as it is stored. */
export async function actionOf(
  tx: Tx,
  { tenantId, runId, approvalId }: Pick<Approval, keyof RunKey | 'approvalId'>,
): Promise<string | null> {
  const [row] = await tx.query<{ action: string }>(
    'select action from concordat.approvals where tenant_id = $1 and run_id = $2 and approval_id = $3',
    [tenantId, runId, approvalId],
  )
  return row?.action ?? null
}

const DECIDE = statement(
  'approvals_decide',
  `update concordat.approvals
      set state = $4, decided_at = clock_timestamp(), decided_by = $5, decided_as = $6, note = $7
    where tenant_id = $1 and run_id = $2 and approval_id = $3 and state = 'pending'
      and (expires_at is null or expires_at > clock_timestamp())
   returning decided_at as "decidedAt"`,
)

export interface ApprovalDecision extends RunKey {
  readonly approvalId: string
  readonly decision: 'approved' | 'rejected'
  readonly by: string
  readonly as: string
  readonly note: string | null
}

/** Decides an approval that is pending and has not expired. Returns when; null: it was not. */
export async function decideApproval(
  tx: Tx,
  { tenantId, runId, approvalId, decision, by, as, note }: ApprovalDecision,
): Promise<Date | null> {
  const [row] = await tx.query<{ decidedAt: Date }>(DECIDE, [tenantId, runId, approvalId, decision, by, as, note])
  return row?.decidedAt ?? null
}

const CONSUME = statement(
  'approvals_consume',
  `update concordat.approvals
      set state = 'consumed', consumed_at = coalesce(consumed_at, clock_timestamp()), consumed_under = $6
    where tenant_id = $1 and run_id = $2 and approval_id = $3 and step_key = $4 and digest = $5
      and (state = 'approved' and (expires_at is null or expires_at > clock_timestamp())
           or state = 'consumed' and consumed_under = $6)
   returning true`,
)

/** What an approval is used for, under a lease of its run. */
interface ApprovalUse extends Pick<NewApproval, keyof RunKey | 'approvalId' | 'stepKey' | 'digest'> {
  readonly leaseToken: number
}

/**
 * Uses an approval up for the step and the action that it was given for. Again under the same lease it is the same use:
 * only a reply was lost. False: it is not, or no longer, good for that.
 */
export async function consumeApproval(tx: Tx, use: ApprovalUse): Promise<boolean> {
  const { tenantId, runId, approvalId, stepKey, digest, leaseToken } = use
  return (await tx.query(CONSUME, [tenantId, runId, approvalId, stepKey, digest, leaseToken])).length > 0
}

const EXPIRE_APPROVED = statement(
  'approvals_expire_approved',
  `update concordat.approvals a set state = 'expired'
    where a.tenant_id = $1 and a.approval_id = $2 and a.state = 'approved' and a.expires_at <= clock_timestamp()
   returning ${COLUMNS}`,
)

/** Ends an approval that was given and not used in time. */
export function expireApproved(tx: Tx, tenantId: string, approvalId: string): Promise<Approval[]> {
  return tx.query<Approval>(EXPIRE_APPROVED, [tenantId, approvalId])
}

/** The approvals of runs in a state, to be changed. */
function change(set: string, where: string): string {
  return `update concordat.approvals a set ${set}
     from ${RUNS.from(1)} as x
    where a.tenant_id = x.tenant_id and a.run_id = x.run_id and ${where}
   returning ${COLUMNS}`
}

const EXPIRE = statement('approvals_expire', change(`state = 'expired'`, `a.state = 'pending'`))
const CANCEL = statement('approvals_cancel', change(`state = 'cancelled'`, `a.state = 'pending'`))
const EXTEND = statement('approvals_extend', change('expires_at = null', `a.state = 'pending'`))

/** Ends what nobody decided in time. Returns what has expired now. */
export function expireApprovals(tx: Tx, runs: readonly RunKey[]): Promise<Approval[]> {
  return changed(tx, EXPIRE, runs)
}

/** Ends what the runs were waiting for, because they end otherwise. */
export function cancelApprovals(tx: Tx, runs: readonly RunKey[]): Promise<Approval[]> {
  return changed(tx, CANCEL, runs)
}

/** Leaves what the runs wait for without an end. */
export function extendApprovals(tx: Tx, runs: readonly RunKey[]): Promise<Approval[]> {
  return changed(tx, EXTEND, runs)
}

async function changed(tx: Tx, sql: typeof EXPIRE, runs: readonly RunKey[]): Promise<Approval[]> {
  return runs.length > 0 ? tx.query<Approval>(sql, RUNS.values(runs)) : []
}

/** Of a run, in the order in which they were asked for. */
export async function approvalsOfRun(tx: Tx, { tenantId, runId }: RunKey): Promise<Approval[]> {
  return tx.query<Approval>(
    `select ${COLUMNS} from concordat.approvals a where a.tenant_id = $1 and a.run_id = $2 order by a.requested_at, a.approval_id`,
    [tenantId, runId],
  )
}

export interface ApprovalFilter {
  /** Null: of every tenant, for operators. */
  readonly tenantId: string | null
  /** Null: in every state. */
  readonly state: ApprovalState | null
  /** 1 to 1,000. */
  readonly limit: number
}

/** The newest first. Keys lead with the tenant, so those of a tenant are found by it. */
export async function listApprovals(tx: Tx, { tenantId, state, limit }: ApprovalFilter): Promise<Approval[]> {
  return tx.query<Approval>(
    `select ${COLUMNS} from concordat.approvals a
      where a.tenant_id = any(case when $1::text is null then array(select tenant_id from concordat.tenants) else array[$1] end)
        and ($2::text is null or a.state = $2)
      order by a.approval_id desc limit $3`,
    [tenantId, state, limit],
  )
}
