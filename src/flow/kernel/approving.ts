import {
  type Approval,
  type ApprovalState,
  cancelApprovals,
  consumeApproval,
  decideApproval,
  expireApproved,
  findApproval,
} from '../../domains/approvals/approvals.ts'
import { type Authority, authoritiesOf, openPauses, recordRefusals, whyRefused } from '../../domains/pauses/pauses.ts'
import { backoffMs, sleep } from '../../foundation/backoff.ts'
import { isRetryable, type Tx } from '../../foundation/storage/storage.ts'
import { announce, announceExpired } from './approval-effects.ts'
import type { Lease } from './messages.ts'
import { databaseNow, lockForResume } from './paused-run-store.ts'
import type { PausingContext } from './pausing.ts'
import { resumeAll } from './resuming.ts'
import { holdLease } from './signal-transactions.ts'
import { startStep } from './step-store.ts'

/** Who decides, as what, and what is to be kept of why. */
export interface DecisionOrder {
  /** Null: of any tenant, for operators. */
  readonly tenantId: string | null
  readonly approvalId: string
  readonly decision: 'approved' | 'rejected'
  readonly by: string
  readonly as: Authority
  readonly note: string | null
}

/** `closed`: it is not pending any more, as when somebody else was first. `forbidden`: recorded with the run's pause. */
export type DecisionAnswer =
  | { readonly kind: 'decided'; readonly approval: Approval; readonly decidedAt: Date }
  | { readonly kind: 'closed'; readonly approval: Approval; readonly state: ApprovalState }
  | { readonly kind: 'forbidden'; readonly approval: Approval; readonly may: readonly Authority[] }
  | { readonly kind: 'not_found' }

/** Decides an approval and lets its run go on, in one commit, once: both names what they leave, under the run's lock. */
export function decide(context: PausingContext, order: DecisionOrder): Promise<DecisionAnswer> {
  return context.database.transaction((tx) => decideWithin(tx, context, order))
}

async function decideWithin(tx: Tx, context: PausingContext, order: DecisionOrder): Promise<DecisionAnswer> {
  const { by, as, note, decision, approvalId } = order
  const asked = await findApproval(tx, order.tenantId, approvalId)
  if (!asked) return { kind: 'not_found' }
  const { tenantId, runId } = asked
  const run = await lockForResume(tx, asked)
  const approval = (await findApproval(tx, tenantId, approvalId)) ?? asked // as it is, now that nobody else can change it
  const [pause] = await openPauses(tx, [asked])
  if (approval.state !== 'pending') return { kind: 'closed', approval, state: approval.state }
  if (!run?.paused || !pause) {
    await cancelApprovals(tx, [asked]) // its run ended in a way that did not know of it
    return { kind: 'closed', approval, state: 'cancelled' }
  }
  const at = await databaseNow(tx)
  if (approval.expiresAt !== null && approval.expiresAt <= at) return { kind: 'closed', approval, state: 'expired' }
  const why = whyRefused(pause, as, at)
  if (why !== null) {
    await recordRefusals(tx, [{ ...asked, refusal: { at: at.toISOString(), by, as, why } }])
    return { kind: 'forbidden', approval, may: authoritiesOf(pause) }
  }
  const decidedAt = await decideApproval(tx, { tenantId, runId, approvalId, decision, by, as, note })
  if (decidedAt === null) return { kind: 'closed', approval, state: 'expired' }
  const data = { approvalId, stepKey: approval.stepKey, decision, by, as, note }
  const time = decidedAt.toISOString()
  await announce(tx, [{ tenantId, runId, event: { id: context.newId(), type: 'approval.decided', time, data } }])
  await resumeAll(tx, context, [pause], { by, as, note, at })
  return { kind: 'decided', approval, decidedAt }
}

/** The step and the exact action that an approval is used for. */
export interface ApprovedStart {
  readonly approvalId: string
  readonly stepKey: string
  readonly digest: string
  readonly attempt: number
}

const START_TRIES = 3
const START_PAUSE_BASE_MS = 50
const START_PAUSE_CAP_MS = 1_000

/**
 * Uses an approval up and marks its step as started, in one commit. False: it is not good for that any more, because its
 * time is over. Fails with `LEASE_LOST`. Tried again where the database was away: nobody could tell else whether the step
 * has begun.
 */
export async function startApproved(
  context: PausingContext & { readonly random: () => number },
  lease: Lease,
  start: ApprovedStart,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await context.database.transaction((tx) => startWithin(tx, context, lease, start))
    } catch (error) {
      if (!isRetryable(error) || attempt === START_TRIES) throw error
      await sleep(
        backoffMs({ attempt, baseMs: START_PAUSE_BASE_MS, capMs: START_PAUSE_CAP_MS, random: context.random }),
      )
    }
  }
}

async function startWithin(tx: Tx, context: PausingContext, lease: Lease, start: ApprovedStart): Promise<boolean> {
  await holdLease(tx, lease)
  const { tenantId } = lease
  if (await consumeApproval(tx, { ...start, ...lease })) {
    await startStep(tx, lease, start)
    return true
  }
  await announceExpired(tx, context, await expireApproved(tx, tenantId, start.approvalId), await databaseNow(tx))
  return false
}
