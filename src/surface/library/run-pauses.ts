import { PauseReason } from '../../domains/pauses/pauses.ts'
import { isTerminal, type RunRow } from '../../domains/runs/runs.ts'
import type { PauseAnswer, ResumeAnswer, ResumedBatch, RunOrchestrationKernel } from '../../flow/kernel/kernel.ts'
import { AppError } from '../../foundation/app-error.ts'
import { NO_RUN } from '../../foundation/ids.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import { type Acting, checkActing, checkPerson } from './acting.ts'
import { pastChange } from './past-change.ts'

export interface PauseInput extends Acting {
  readonly why?: string
}

export interface ResumeInput extends Acting {
  readonly note?: string
}

/** `paused`: it holds no worker. `requested`: it pauses before its next step, or when a worker claims it. */
export type PauseResult = Exclude<PauseAnswer, 'refused'>

/** `resumed`: it goes on as soon as a worker is free. `withdrawn`: it had only been asked to pause, and does not. */
export type ResumeResult = 'resumed' | 'withdrawn'

/** Pauses a run for a person. Fails with `RUN_PAUSED` when it is paused or about to be, else with `RUN_ENDED`. */
export async function pauseRun(
  kernel: RunOrchestrationKernel,
  { tenantId, runId }: RunRow,
  { by, as, why = 'no reason given' }: PauseInput,
  lookAgain: () => Promise<RunRow>,
): Promise<PauseResult> {
  const acting = checkPerson({ by, as })
  const answer = await kernel.requestPause({ tenantId, runId, ...acting, why: safeText(why, limits.noteCharsMax) })
  if (answer !== 'refused') return answer
  const now = await lookAgain()
  const details = { runId, status: now.status, phase: now.phase }
  if (now.paused) throw new AppError('RUN_PAUSED', `run ${runId} is paused already`, { details })
  if (now.pauseRequest !== null && !isTerminal(now.phase)) {
    const { by: who, requestedAt } = now.pauseRequest
    throw new AppError('RUN_PAUSED', `run ${runId} is about to pause: ${who} asked for it at ${requestedAt}`, {
      details,
    })
  }
  if (now.stop === null || isTerminal(now.phase)) throw pastChange("can't be paused any more", now)
  throw new AppError('RUN_ENDED', `run ${runId} can't be paused any more: it is being stopped`, { details })
}

/**
 * Ends a run's pause, once. Fails with `RESUME_FORBIDDEN` when the authority may not, which is recorded, and with
 * `RUN_NOT_PAUSED` (and the state) when there is no pause to end, as when somebody else was first.
 */
export async function resumeRun(
  kernel: RunOrchestrationKernel,
  { tenantId, runId }: RunRow,
  { by, as, note }: ResumeInput,
): Promise<ResumeResult> {
  const order = {
    tenantId,
    runId,
    ...checkActing({ by, as }),
    note: noteText(note),
  }
  const answer = await kernel.resume(order)
  switch (answer.kind) {
    case 'resumed':
    case 'withdrawn':
      return answer.kind
    case 'undecided':
      throw new AppError('APPROVAL_PENDING', `run ${runId} waits for the decision of approval ${answer.approvalId}`, {
        hint: `Decide it with \`concordat approvals decide ${answer.approvalId} approve\`, or reject.`,
        details: { runId, approvalId: answer.approvalId },
      })
    case 'forbidden':
      throw new AppError('RESUME_FORBIDDEN', `run ${runId} stays paused: ${answer.why}`, {
        hint: `Ask one of ${answer.may.join(', ')}. The attempt is recorded.`,
        details: { runId, resumableBy: [...answer.may] },
      })
    case 'not_paused':
      throw new AppError(
        'RUN_NOT_PAUSED',
        `run ${runId} is not paused: it is ${answer.status} (${answer.phase})${earlier(answer)}`,
        {
          details: { runId, status: answer.status, phase: answer.phase },
        },
      )
  }
}

/** How a scope's paused runs were answered. */
export interface ResumeAllResult {
  readonly resumed: number
  /** They stay paused: not by this authority, and that is recorded with each. */
  readonly forbidden: number
  /** They stay paused: each waits for the decision of an approval. */
  readonly undecided: number
}

export interface ResumeAllInput extends ResumeInput {
  readonly tenant: string
  /** Only runs of this agent. */
  readonly agent?: string
  /** Only runs that are paused for this. */
  readonly reason?: PauseReason
}

/** Ends the pauses of a tenant's runs, some hundred a transaction. What is paused meanwhile may be among them or not. */
export async function resumeAll(
  kernel: RunOrchestrationKernel,
  { tenant: tenantId, agent, reason, by, as, note }: ResumeAllInput,
): Promise<ResumeAllResult> {
  if (reason !== undefined && !Object.hasOwn(PauseReason, reason)) {
    const known = Object.keys(PauseReason).join(', ')
    throw new AppError('INVALID_REQUEST', `no run is paused for ${JSON.stringify(reason)}: it is one of ${known}`)
  }
  const order = { ...checkActing({ by, as }), note: noteText(note) }
  const scope = { tenantId, agent: agent ?? null, reason: reason ?? null }
  const all = { resumed: 0, forbidden: 0, undecided: 0 }
  let next: string | null = NO_RUN
  while (next !== null) {
    const batch: ResumedBatch = await kernel.resumeBatch(scope, order, next)
    all.resumed += batch.resumed
    all.forbidden += batch.forbidden
    all.undecided += batch.undecided
    next = batch.next
  }
  return all
}

function noteText(note: string | undefined): string | null {
  return note === undefined ? null : safeText(note, limits.noteCharsMax)
}

function earlier({ last }: Extract<ResumeAnswer, { kind: 'not_paused' }>): string {
  if (last?.endedAt == null) return ''
  const at = last.endedAt.toISOString()
  if (last.endedHow === 'RESUMED') return `; ${last.resumedBy} resumed it as ${last.resumedAs} at ${at}`
  return last.endedHow === 'STOPPED' ? `; it was stopped at ${at}` : `; nobody resumed it before ${at}`
}
