import { awaitingApproval, pendingApproval } from '../../domains/approvals/approvals.ts'
import {
  Authority,
  authoritiesOf,
  dueAction,
  endPauses,
  markPauses,
  nextMoment,
  openPauses,
  type Pause,
  type PauseAction,
  PauseReason,
  pausesOfRun,
  recordRefusals,
  whyRefused,
} from '../../domains/pauses/pauses.ts'
import { pendingEnd, type RunEnd, type RunKey, type RunStatus } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { invariant } from '../../foundation/assert.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { cancelPending, expirePending, leavePendingOpen } from './approval-effects.ts'
import {
  databaseNow,
  isPausedDue,
  lockDuePaused,
  lockForResume,
  lockPausedOf,
  movePausedDue,
  type PausedScope,
  seizePaused,
  wakePaused,
  withdrawPause,
} from './paused-run-store.ts'
import { type PausingContext, SYSTEM } from './pausing.ts'
import type { DueEnd } from './takeover-store.ts'

/** Who ends a pause, as what, and what is to be kept of why. */
export interface ResumeOrder extends RunKey {
  readonly by: string
  readonly as: Authority
  readonly note: string | null
}

/**
 * `resumed`: it goes on as soon as a worker is free. `withdrawn`: the pause was requested and had not begun.
 * `forbidden`: not by this authority, and that is recorded. `not_paused`: as when somebody else was first; `last` is the
 * run's latest pause. `undecided`: it waits for an approval, and goes on by its decision.
 */
export type ResumeAnswer =
  | { readonly kind: 'resumed'; readonly pause: Pause }
  | { readonly kind: 'withdrawn' }
  | { readonly kind: 'undecided'; readonly approvalId: string }
  | { readonly kind: 'forbidden'; readonly why: string; readonly may: readonly Authority[] }
  | { readonly kind: 'not_paused'; readonly status: RunStatus; readonly phase: string; readonly last: Pause | null }

/** Ends the pause of a run, once: the write names the paused run, and whoever comes second finds none. */
export function resumeRun(context: PausingContext, order: ResumeOrder): Promise<ResumeAnswer> {
  return context.database.transaction((tx) => resumeWithin(tx, context, order))
}

async function resumeWithin(tx: Tx, context: PausingContext, order: ResumeOrder): Promise<ResumeAnswer> {
  const { by, as, note } = order
  const [run, [pause], at, approval] = await Promise.all([
    lockForResume(tx, order),
    openPauses(tx, [order]),
    databaseNow(tx),
    pendingApproval(tx, order),
  ])
  if (!run) throw new AppError('RUN_NOT_FOUND', `there is no run ${order.runId}`)
  if (!run.paused && run.requested && as !== Authority.SYSTEM_AUTO) {
    await withdrawPause(tx, order)
    return { kind: 'withdrawn' }
  }
  if (!run.paused) {
    const last = (await pausesOfRun(tx, order)).at(-1) ?? null
    return { kind: 'not_paused', status: run.status, phase: run.phase, last }
  }
  invariant(pause !== undefined, `run ${order.runId} is paused, and no pause of it is stored`)
  const why = whyRefused(pause, as, at)
  if (why !== null) {
    await recordRefusals(tx, [{ ...order, refusal: { at: at.toISOString(), by, as, why } }])
    return { kind: 'forbidden', why, may: authoritiesOf(pause) }
  }
  if (approval) return { kind: 'undecided', approvalId: approval.approvalId }
  await resumeAll(tx, context, [pause], { by, as, note, at })
  return { kind: 'resumed', pause }
}

/** What became of some of a scope's paused runs. */
export interface ResumedBatch {
  readonly resumed: number
  /** Not by this authority, which is recorded with each. */
  readonly forbidden: number
  /** They wait for approvals, and go on by their decisions. */
  readonly undecided: number
  /** Where the next batch begins; null when this was the last. */
  readonly next: string | null
}

/** Ends the pauses of a bounded number of runs in one transaction, each as if it alone were resumed. */
export function resumeBatch(
  context: PausingContext,
  scope: PausedScope,
  { by, as, note }: Omit<ResumeOrder, keyof RunKey>,
  after: string,
): Promise<ResumedBatch> {
  return context.database.transaction(async (tx) => {
    const runs = await lockPausedOf(tx, scope, after, limits.resumeBatchMax)
    if (runs.length === 0) return { resumed: 0, forbidden: 0, undecided: 0, next: null }
    const [pauses, at, waiting] = await Promise.all([openPauses(tx, runs), databaseNow(tx), awaitingApproval(tx, runs)])
    const refused = pauses.flatMap((pause) => {
      const why = whyRefused(pause, as, at)
      return why === null ? [] : [{ ...pause, refusal: { at: at.toISOString(), by, as, why } }]
    })
    const isRefused = new Set(refused.map(({ runId }) => runId))
    const allowed = pauses.filter(({ runId }) => !isRefused.has(runId))
    const decided = allowed.filter(({ runId }) => !waiting.has(runId))
    await Promise.all([recordRefusals(tx, refused), resumeAll(tx, context, decided, { by, as, note, at })])
    return {
      resumed: decided.length,
      forbidden: refused.length,
      undecided: allowed.length - decided.length,
      next: runs.length < limits.resumeBatchMax ? null : (runs.at(-1)?.runId ?? null),
    }
  })
}

interface Resumption {
  readonly by: string
  readonly as: Authority
  readonly note: string | null
  readonly at: Date
}

/** Paused runs, locked by the caller, go on: ready to be claimed, their pauses ended, and that announced. */
export async function resumeAll(
  tx: Tx,
  { newId }: PausingContext,
  pauses: readonly Pause[],
  how: Resumption,
): Promise<void> {
  if (pauses.length === 0) return
  const { by, as, note, at } = how
  const woken = pauses.map(({ tenantId, runId, reason }) => {
    // A rate limit that has room again is no decision about the policies that the run goes by.
    const asBefore = as === Authority.SYSTEM_AUTO && reason === PauseReason.RATE_LIMIT_SOFT
    return { tenantId, runId, policiesAsOf: asBefore ? null : at }
  })
  const ended = pauses.map((pause) => {
    return { ...pause, endedAt: at, endedHow: 'RESUMED' as const, resumedBy: by, resumedAs: as, note }
  })
  const entries = pauses.map(({ tenantId, runId, pauseId, reason }) => {
    const data = { pauseId, reason, by, as, note }
    return { tenantId, runId, events: [{ id: newId(), type: 'run.resumed' as const, time: at.toISOString(), data }] }
  })
  await Promise.all([wakePaused(tx, woken), endPauses(tx, ended), appendEvents(tx, entries)])
}

/** Ends the pauses of runs whose end came first, in the transaction that brings it. */
export async function endPausesOf(
  tx: Tx,
  runs: readonly RunKey[],
  endedHow: 'STOPPED' | 'TIMED_OUT',
  at: Date,
): Promise<void> {
  await cancelPending(tx, runs)
  await endPauses(
    tx,
    runs.map(({ tenantId, runId }) => ({
      tenantId,
      runId,
      endedAt: at,
      endedHow,
      resumedBy: null,
      resumedAs: null,
      note: null,
    })),
  )
}

/** A pause about which something was done though nobody asked. */
export interface SweptPause {
  readonly pause: Pause
  readonly action: PauseAction
}

export interface SweptPauses {
  readonly done: readonly SweptPause[]
  /** Of those that nobody resumed in time: the caller's to complete. */
  readonly ends: readonly DueEnd[]
}

/** Does what is due of pauses: warnings, timeouts, rate limits that have room again. Each is done once, by one process. */
export async function sweepPauses(context: PausingContext): Promise<SweptPauses> {
  if (!(await isPausedDue(context.database))) return { done: [], ends: [] }
  return context.database.transaction(async (tx) => {
    const runs = await lockDuePaused(tx, limits.sweepBatchMax)
    const now = runs[0]?.now
    if (now === undefined) return { done: [], ends: [] }
    const pauses = await openPauses(tx, runs)
    const done = pauses.flatMap((pause) => {
      const action = dueAction(pause, now)
      return action === null ? [] : [{ pause, action }]
    })
    const of = (...actions: PauseAction[]) =>
      done.filter(({ action }) => actions.includes(action)).map(({ pause }) => pause)
    await markPauses(tx, of('WARN'), 'WARN', now)
    await markPauses(tx, of('ESCALATE'), 'ESCALATE', now)
    await leavePendingOpen(tx, of('ESCALATE'))
    const expired = await expirePending(tx, context, of('TERMINATE', 'CONTINUE'), now)
    const moved = runs.map((run) => {
      const pause = pauses.find(({ runId }) => runId === run.runId)
      return { ...run, dueAt: pause === undefined ? null : momentAfter(pause, now) }
    })
    await movePausedDue(tx, moved)
    await resumeAll(tx, context, of('RESUME'), { ...SYSTEM, note: 'its rate limit has room again', at: now })
    await resumeAll(tx, context, of('CONTINUE'), { ...SYSTEM, note: 'nobody resumed it in time', at: now })
    return { done, ends: await terminate(tx, of('TERMINATE'), expired, now) }
  })
}

/** When to look next at a run that stays paused; of the others the same transaction decides otherwise. */
function momentAfter(pause: Pause, now: Date): Date | null {
  const action = dueAction(pause, now)
  if (action === null) return nextMoment(pause)
  return nextMoment({ ...pause, ...(action === 'WARN' ? { warnedAt: now } : { escalatedAt: now }) })
}

async function terminate(tx: Tx, pauses: readonly Pause[], expired: ReadonlySet<string>, at: Date): Promise<DueEnd[]> {
  const runs = pauses.map((pause) => {
    const code = expired.has(pause.runId) ? 'APPROVAL_EXPIRED' : 'PAUSE_TIMEOUT'
    return { ...pause, pending: pendingEnd(pauseTimeoutEnd(pause, code)) }
  })
  const tokens = await seizePaused(tx, runs, limits.takeoverMs)
  await endPausesOf(tx, pauses, 'TIMED_OUT', at)
  return runs.flatMap(({ tenantId, runId, pending }) => {
    const leaseToken = tokens.get(runId)
    return leaseToken === undefined ? [] : [{ tenantId, runId, leaseToken, pending }]
  })
}

/**
 * How a run ends that nobody resumed in time. The same whatever it was paused for: the agent made no error and nobody
 * stopped it; what ends it is a rule of governance, how long a run may stay paused.
 */
function pauseTimeoutEnd(
  { reason, pausedAt, timeoutAt, message: asked }: Pause,
  code: 'PAUSE_TIMEOUT' | 'APPROVAL_EXPIRED',
): RunEnd {
  const seconds = Math.round((timeoutAt.getTime() - pausedAt.getTime()) / 1_000)
  const what =
    code === 'APPROVAL_EXPIRED'
      ? `nobody decided within ${seconds} s: ${asked}`
      : `paused (${reason}) and not resumed within ${seconds} s`
  const message = safeText(what, limits.errorMessageCharsMax)
  const error = { name: 'AppError', code, message }
  return { outcome: 'failed_policy', reason: code, message, error, output: null, lastStepRecorded: true }
}
