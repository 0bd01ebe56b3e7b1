import { AppError } from '../../foundation/app-error.ts'
import { withTimeout } from '../../foundation/backoff.ts'
import type { Json } from '../../foundation/json.ts'
import { allowIdle, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionRequest, TransactionOutcome } from './completion-request.ts'
import { COMPLETION_WRITES } from './completion-writes.ts'
import type { DecidedCompletion } from './decide-completion.ts'
import { domainResults, endedOutcome, failureOf, refusalOf } from './domain-results.ts'
import { holdAndDecide } from './hold-and-decide.ts'
import {
  beginCompensation,
  compensated,
  type EndingRun,
  intend,
  keepDetail,
  type Participant,
  type ParticipantIntent,
  settle,
} from './participants.ts'
import { RollbackStack } from './rollback-stack.ts'
import { TransactionFailed, TransactionPhase } from './transaction-result.ts'

/**
 * The completion of a run with participants, in a transaction of its own: first what they do elsewhere, each behind a
 * stored intent; then all rows, theirs included, in one commit. Whatever fails, the rollback stack undoes it in reverse.
 */
export async function completeWithParticipants(
  options: CompletionOptions,
  request: CompletionRequest,
): Promise<TransactionOutcome> {
  const stack = new RollbackStack()
  let decided: DecidedCompletion | undefined
  try {
    const first = await options.database.transaction((tx) => holdAndDecide(tx, options, [request]))
    const refused = first.answers.get(request)
    if (refused) return refused
    decided = first.decided[0] as DecidedCompletion
    const intents = await actElsewhere(options, decided, stack)
    const outcome = await commitWithWrites(options, request, intents)
    if (outcome.kind !== 'ended') await stack.unwind()
    return outcome
  } catch (error) {
    const undone = await stack.unwind()
    const refusal = refusalOf(request.lease.runId, decided, error)
    throw refusal instanceof TransactionFailed ? refusal.withUndone(undone) : refusal
  }
}

async function actElsewhere(
  { database, participants }: CompletionOptions,
  decided: DecidedCompletion,
  stack: RollbackStack,
): Promise<ParticipantIntent[]> {
  const run = endingRun(decided)
  const intents: ParticipantIntent[] = []
  for (const participant of participants) {
    const { name, act, timeoutMs = limits.participantTimeoutMs } = participant
    if (!act) continue
    const intent = await intend(database, run, name, limits.participantIntentMs)
    let detail: Json = null
    // On the stack before it acts: an action that fails halfway needs its compensation just as much.
    stack.push({
      domain: `participant:${name}`,
      action: 'act',
      resultId: intent.idempotencyKey,
      compensate: () => compensate(database, participant, intent, detail),
    })
    detail = await asParticipant(decided, participant, 0, () =>
      withTimeout((signal) => act(run, intent, signal), { timeoutMs, onTimeout: () => timedOut(name, timeoutMs) }),
    )
    await keepDetail(database, intent, JSON.stringify(detail))
    intents.push(intent)
  }
  return intents
}

/**
 * Undoes what a participant did elsewhere, then says so in its intent; a crash in between repeats it. What a commit has
 * settled stands, though its reply was lost.
 */
export async function compensate(
  tx: Tx,
  participant: Participant,
  intent: ParticipantIntent,
  detail: Json,
): Promise<void> {
  if (!(await beginCompensation(tx, intent))) return
  await participant.compensate?.(intent, detail)
  await compensated(tx, intent)
}

function commitWithWrites(
  options: CompletionOptions,
  request: CompletionRequest,
  intents: readonly ParticipantIntent[],
): Promise<TransactionOutcome> {
  const startedAt = performance.now()
  return options.database
    .transaction(async (tx): Promise<TransactionOutcome> => {
      const { decided, answers } = await holdAndDecide(tx, options, [request])
      const refused = answers.get(request)
      if (refused) return refused
      const each = decided[0] as DecidedCompletion
      const last = COMPLETION_WRITES.length - 1
      for (const [index, write] of COMPLETION_WRITES.entries()) {
        if (index === last) await writeOwnRows(tx, options.participants, each, intents)
        await write.run(tx, [each]).catch((error) => {
          throw failureOf(each, index, error)
        })
      }
      const results = domainResults(each, COMPLETION_WRITES.length)
      return endedOutcome(options, each, results, performance.now() - startedAt)
    })
    .then((outcome) => {
      options.onCommitted()
      return outcome
    })
}

/** Participants' rows come last before the run's own: all domains have written, nothing is committed. */
async function writeOwnRows(
  tx: Tx,
  participants: readonly Participant[],
  decided: DecidedCompletion,
  intents: readonly ParticipantIntent[],
): Promise<void> {
  const written = COMPLETION_WRITES.length - 1
  for (const participant of participants) {
    const { write, timeoutMs = limits.participantTimeoutMs } = participant
    if (!write) continue
    await tx.query(`set local statement_timeout = ${Math.ceil(timeoutMs)}`)
    await allowIdle(tx, timeoutMs)
    await asParticipant(decided, participant, written, () =>
      withTimeout(() => write(tx, endingRun(decided)), {
        timeoutMs,
        onTimeout: () => timedOut(participant.name, timeoutMs),
      }),
    )
    await tx.query('set local statement_timeout = 0')
  }
  for (const intent of intents) {
    if (await settle(tx, intent)) continue
    throw refusal(
      decided,
      intent.participant,
      written,
      new Error('its operation was undone already: the completion took too long'),
    )
  }
}

/** Blames what fails on the participant, at the phase that the writes before it had reached. */
async function asParticipant<T>(
  decided: DecidedCompletion,
  { name }: Participant,
  written: number,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw refusal(decided, name, written, error)
  }
}

function refusal(decided: DecidedCompletion, name: string, written: number, cause: unknown): TransactionFailed {
  const phase = COMPLETION_WRITES[written - 1]?.reaches ?? TransactionPhase.NOT_STARTED
  const error = cause instanceof Error ? cause.message : String(cause)
  const refused = {
    domain: `participant:${name}`,
    action: 'participate',
    resultId: null,
    success: false,
    error,
    at: decided.at,
  }
  return new TransactionFailed(decided.held.runId, phase, [...domainResults(decided, written), refused], cause)
}

function timedOut(name: string, timeoutMs: number): AppError {
  return new AppError('PARTICIPANT_FAILED', `participant ${name} took longer than ${timeoutMs} ms`)
}

function endingRun({ held, governance }: DecidedCompletion): EndingRun {
  const { tenantId, runId, agent } = held
  return { tenantId, runId, agent, status: governance.status, reason: governance.reason }
}
