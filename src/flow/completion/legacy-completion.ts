import { ACTIONS, type Action, ackOf, type DomainAck, writeAcks } from '../../domains/audit/audit.ts'
import { walkToEnd } from '../../domains/runs/runs.ts'
import { TraceFacade } from '../../domains/traces/traces.ts'
import { appendEvents, type EventType } from '../../foundation/events/events.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { finishRuns, holdRuns } from '../kernel/kernel.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionRequest, TransactionOutcome } from './completion-request.ts'
import type { DecidedCompletion } from './decide-completion.ts'
import { endedOutcome } from './domain-results.ts'
import { GovernanceFacade } from './governance-facade.ts'
import { holdAndDecide } from './hold-and-decide.ts'
import type { DomainResult } from './transaction-result.ts'

/** One domain's part of the legacy path: its rows, its events and the actions that it acknowledges. */
interface LegacyPart {
  readonly action: Action
  readonly acknowledges: readonly Action[]
  readonly publishes: readonly EventType[]
  readonly write: (tx: Tx, decided: DecidedCompletion) => Promise<unknown>
}

const PARTS: readonly LegacyPart[] = [
  {
    action: ACTIONS.createIncident,
    acknowledges: [ACTIONS.createIncident],
    publishes: ['incident.created'],
    write: (tx, { governance }) => GovernanceFacade.writeIncidents(tx, [governance]),
  },
  {
    action: ACTIONS.evaluatePolicy,
    acknowledges: [ACTIONS.evaluatePolicy],
    publishes: ['policy.evaluated'],
    write: (tx, { governance }) => GovernanceFacade.writeEvaluations(tx, [governance]),
  },
  {
    action: ACTIONS.completeTrace,
    acknowledges: [ACTIONS.startTrace, ACTIONS.completeTrace],
    publishes: ['trace.completed'],
    write: (tx, { traceEnd }) => TraceFacade.complete(tx, [traceEnd]),
  },
]

const RUN_PART: LegacyPart = {
  action: ACTIONS.finalizeRun,
  acknowledges: [ACTIONS.finalizeRun],
  publishes: ['run.completed', 'run.failed'],
  write: (tx, { finished }) => finishRuns(tx, [finished]),
}

/**
 * The legacy path: each domain in its own transaction. What a domain refuses is logged and counted, leaves a `FAILED`
 * ack where that is possible, and is found by the audit; the run ends all the same. Throws only when the run's own
 * last write fails. What an earlier try has acknowledged is not written again.
 */
export async function completeLegacy(
  options: CompletionOptions,
  request: CompletionRequest,
): Promise<TransactionOutcome> {
  const startedAt = performance.now()
  const { decided, answers } = await options.database.transaction((tx) => holdAndDecide(tx, options, [request]))
  const refused = answers.get(request)
  if (refused) return refused
  const each = decided[0] as DecidedCompletion
  const results: DomainResult[] = []
  for (const part of PARTS) {
    const result = await writePart(options, each, part)
    if (result === 'lease_lost') return { kind: 'lease_lost' }
    results.push(result)
  }
  if (!(await commitPart(options, truthful(each, results), RUN_PART))) return { kind: 'lease_lost' }
  results.push(resultOf(RUN_PART, each, null))
  options.onCommitted()
  return endedOutcome(options, each, results, performance.now() - startedAt)
}

/** The end as its phases tell it: domains that refused did not agree. */
function truthful(decided: DecidedCompletion, results: readonly DomainResult[]): DecidedCompletion {
  const refused = results.filter(({ success }) => !success).map(({ domain }) => domain)
  const { held, finished, at } = decided
  if (refused.length === 0 || finished.outcome !== 'succeeded') return decided
  const why = `ended without ${refused.join(', ')}, which refused`
  const transitions = walkToEnd(held.phase, finished.outcome, why, at, 'each domain by itself, on the legacy path')
  return { ...decided, finished: { ...finished, transitions } }
}

async function writePart(
  options: CompletionOptions,
  decided: DecidedCompletion,
  part: LegacyPart,
): Promise<DomainResult | 'lease_lost'> {
  const { tenantId, runId, acked } = decided.held
  if (acked.includes(`${part.action.domain}/${part.action.action}`)) return resultOf(part, decided, null)
  try {
    return (await commitPart(options, decided, part)) ? resultOf(part, decided, null) : 'lease_lost'
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    options.log.error(
      { error, tenantId, runId, domain: part.action.domain },
      'a domain refused its part of a run that ends',
    )
    options.metrics.counter('concordat_completion_domain_errors_total').inc({ domain: part.action.domain })
    await leaveFailedAck(options, decided, part, message)
    return resultOf(part, decided, message)
  }
}

/** Rows, acks and events of one part in one commit. False when the run is no longer this lease's. */
function commitPart(options: CompletionOptions, decided: DecidedCompletion, part: LegacyPart): Promise<boolean> {
  const { request, held, acks, events, at } = decided
  const { tenantId, runId } = held
  return options.database.transaction(async (tx) => {
    const still = await holdRuns(tx, [request.lease])
    if (!still.has(runId)) return false
    await part.write(tx, decided)
    await writeAcks(tx, [{ tenantId, runId, at, acks: acks.filter((ack) => isOf(part, ack)) }])
    await appendEvents(tx, [{ tenantId, runId, events: events.filter((event) => part.publishes.includes(event.type)) }])
    return true
  })
}

function isOf({ acknowledges }: LegacyPart, ack: DomainAck): boolean {
  return acknowledges.some((action) => action.domain === ack.domain && action.action === ack.action)
}

async function leaveFailedAck(
  { database, log }: CompletionOptions,
  { held, at, request }: DecidedCompletion,
  { action }: LegacyPart,
  message: string,
): Promise<void> {
  const { tenantId, runId } = held
  const ack = ackOf(action, 'FAILED', {
    error: safeText(message, limits.errorMessageCharsMax),
    attempt: request.earlierAttempts + 1,
  })
  await writeAcks(database, [{ tenantId, runId, at, acks: [ack] }]).catch((error) => {
    log.error({ error, tenantId, runId, domain: action.domain }, 'its FAILED ack could not be written either')
  })
}

function resultOf({ action }: LegacyPart, { acks, at }: DecidedCompletion, error: string | null): DomainResult {
  const ack = acks.find((each) => each.domain === action.domain && each.action === action.action)
  return { ...action, resultId: error === null ? (ack?.resultId ?? null) : null, success: error === null, error, at }
}
