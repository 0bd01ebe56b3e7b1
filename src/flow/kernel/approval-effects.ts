import {
  type Approval,
  cancelApprovals,
  expireApprovals,
  extendApprovals,
  insertApproval,
  supersedeApprovals,
} from '../../domains/approvals/approvals.ts'
import type { NewPause } from '../../domains/pauses/pauses.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { appendEvents, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import type { AskedApproval } from './messages.ts'

/*
 * What becomes of approvals together with their runs, in the transactions that pause, resume and end those: an approval is
 * pending exactly as long as its run is paused for it, and the pause's time is its own.
 */

interface Context {
  readonly newId: IdSource
}

/** Somebody is asked, in the commit that pauses the run for it. The same approval again, of a pause before, stays as it is. */
export async function requestApproval(tx: Tx, context: Context, pause: NewPause, asked: AskedApproval): Promise<void> {
  const { tenantId, runId, message, pausedAt: requestedAt, timeoutAt: expiresAt } = pause
  const { action, ...rest } = asked
  const approvers = pause.approvers ?? ['TENANT_ADMIN']
  const superseded = await supersedeApprovals(tx, { ...asked, tenantId, runId })
  await announceExpired(tx, context, superseded, requestedAt)
  const isNew = await insertApproval(
    tx,
    { ...rest, tenantId, runId, message, approvers, requestedAt, expiresAt },
    action,
  )
  if (!isNew) return
  const { approvalId, stepKey, purpose, digest, policy } = asked
  const data = { approvalId, stepKey, purpose, digest, message, approvers, policy, expiresAt: expiresAt.toISOString() }
  await announce(tx, [
    {
      tenantId,
      runId,
      event: { id: context.newId(), type: 'approval.requested', time: requestedAt.toISOString(), data },
    },
  ])
}

/** What nobody decided before the pauses' time was over is expired. Returns the runs that had asked. */
export async function expirePending(
  tx: Tx,
  context: Context,
  runs: readonly RunKey[],
  at: Date,
): Promise<ReadonlySet<string>> {
  const expired = await expireApprovals(tx, runs)
  await announceExpired(tx, context, expired, at)
  return new Set(expired.map(({ runId }) => runId))
}

export async function announceExpired(
  tx: Tx,
  { newId }: Context,
  expired: readonly Approval[],
  at: Date,
): Promise<void> {
  const time = at.toISOString()
  const events = expired.map(({ tenantId, runId, approvalId, stepKey, expiresAt }) => {
    const data = { approvalId, stepKey, expiresAt: expiresAt?.toISOString() ?? null }
    return { tenantId, runId, event: { id: newId(), type: 'approval.expired' as const, time, data } }
  })
  await announce(tx, events)
}

/** Runs that end while they wait for somebody to decide. */
export async function cancelPending(tx: Tx, runs: readonly RunKey[]): Promise<void> {
  await cancelApprovals(tx, runs)
}

/** Pauses that are left to operators have no end any more; nor has what they wait for. */
export async function leavePendingOpen(tx: Tx, runs: readonly RunKey[]): Promise<void> {
  await extendApprovals(tx, runs)
}

export async function announce(tx: Tx, events: readonly (RunKey & { readonly event: RunEvent })[]): Promise<void> {
  await appendEvents(
    tx,
    events.map(({ tenantId, runId, event }) => ({ tenantId, runId, events: [event] })),
  )
}
