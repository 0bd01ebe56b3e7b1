import { type Alert, raiseAlerts } from '../../domains/alerts/alerts.ts'
import { ACTIONS, type DomainAck, writeAcks } from '../../domains/audit/audit.ts'
import { type PendingEnd, type RunKey, RunPhase, type Transition, walk } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { backoffMs } from '../../foundation/backoff.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { blockRun, type HeldRun, holdRuns } from '../kernel/kernel.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionOutcome, CompletionRequest } from './completion-request.ts'
import { RollbackStack, rolledBackAck } from './rollback-stack.ts'
import type { TransactionFailed } from './transaction-result.ts'

/**
 * What a try left to say: a `ROLLED_BACK` ack for each operation that was begun and undone, the one that refused
 * first (the latest is undone first), then what had been done before it, then what participants had done elsewhere.
 */
async function rollbackAcks(failure: TransactionFailed, attempt: number): Promise<DomainAck[]> {
  const stack = new RollbackStack()
  for (const { domain, action, resultId } of failure.domains) stack.push({ domain, action, resultId })
  const rows = await stack.unwind()
  const reason = safeText(failure.message, limits.errorMessageCharsMax)
  return [...rows, ...failure.undone].map((operation) => rolledBackAck(operation, reason, attempt))
}

/** Leaves the acks of an undone try in a commit of its own. Its failure is logged: it must not hide the first one. */
export async function recordRollback(
  options: CompletionOptions,
  request: CompletionRequest,
  failure: TransactionFailed,
): Promise<void> {
  const { tenantId, runId } = request.lease
  options.metrics.counter('concordat_completion_rollbacks_total').inc({ phase: failure.phase })
  options.log.error({ error: failure, tenantId, runId, phase: failure.phase }, 'a completion was rolled back')
  if (!options.rollbackAudit) return
  const acks = await rollbackAcks(failure, request.earlierAttempts + 1)
  const at = options.clock.now()
  await writeAcks(options.database, [{ tenantId, runId, at, acks }]).catch((error) => {
    options.log.error({ error, tenantId, runId }, 'the ROLLED_BACK acks could not be written')
  })
}

/**
 * Parks a run that its domains do not agree on: it stays where it is (FINALIZING once it has executed), its end is
 * kept in its row, its slot is free, and it is tried again with backoff until it commits. The alert is raised once.
 */
export async function block(
  options: CompletionOptions,
  request: CompletionRequest,
  failure: TransactionFailed,
): Promise<CompletionOutcome> {
  const attempts = request.earlierAttempts + 1
  const retryInMs = Math.ceil(
    backoffMs({
      attempt: attempts,
      baseMs: limits.finalizeBackoffMsBase,
      capMs: limits.finalizeBackoffMsCap,
      random: () => 0.5 + options.random() / 2, // never at once: what refused has just been asked
    }),
  )
  const pending: PendingEnd = {
    end: request.end,
    attempts,
    blockedBy: failure.refusedBy,
    phaseReached: failure.phase,
    error: safeText(failure.message, limits.errorMessageCharsMax),
  }
  const parked = await options.database.transaction(async (tx) => {
    const held = (await holdRuns(tx, [request.lease])).get(request.lease.runId)
    const contractMet = !(failure.cause instanceof AppError && failure.cause.code === 'CONTRACT_UNMET')
    return held ? park(tx, options, request, held, pending, retryInMs, contractMet) : false
  })
  if (!parked) return { kind: 'lease_lost' }
  await alertOnce(options, request, pending)
  return { kind: 'blocked', failure, retryInMs }
}

function park(
  tx: Tx,
  { clock }: CompletionOptions,
  { lease }: CompletionRequest,
  { phase }: HeldRun,
  pending: PendingEnd,
  retryInMs: number,
  contractMet: boolean,
): Promise<boolean> {
  const transitions = walkToParking(phase, contractMet, clock.now())
  const parkedIn = transitions.at(-1)?.to ?? phase
  return blockRun(tx, { ...lease, phase: parkedIn, pending, retryInMs, transitions })
}

/** A run that has executed goes as far as it may: to FINALIZING, or only to the check that its contract did not pass. */
function walkToParking(phase: RunPhase, contractMet: boolean, at: Date): Transition[] {
  const checked = [RunPhase.GOVERNANCE_CHECK, 'its work has ended'] as const
  const finalizing = [RunPhase.FINALIZING, 'every expectation can be met'] as const
  const path =
    phase === RunPhase.EXECUTING ? [checked, finalizing] : phase === RunPhase.GOVERNANCE_CHECK ? [finalizing] : []
  return walk(phase, contractMet ? path : path.filter((step) => step === checked), at)
}

/** What an alert about a contract that can't be met is about, whoever finds it. */
export const CONTRACT_SUBJECT = 'contract'

/** The alert that stands for as long as a domain refuses a run's end: one, whichever domain it is. */
export function blockedAlert({ tenantId, runId }: RunKey, blockedBy: string, error: string): Alert {
  const subject = blockedBy === 'audit' ? CONTRACT_SUBJECT : ACTIONS.finalizeRun.action
  const message = `the run can't be finalised: ${error}`
  return { tenantId, runId, type: 'RECONCILIATION_FAILED', subject, domain: 'audit', message }
}

/**
 * After the run is parked, not with it: an alert that can't be stored must not keep the run from being tried again. The
 * next reconciliation of the run stores what this could not.
 */
async function alertOnce(options: CompletionOptions, { lease }: CompletionRequest, pending: PendingEnd): Promise<void> {
  const { database, newId, clock, log } = options
  const { tenantId, runId } = lease
  const alert = blockedAlert(lease, pending.blockedBy ?? '', pending.error ?? '')
  const at = clock.now()
  const raise = async (tx: Tx) => {
    const raised = await raiseAlerts(tx, [alert], { at, newId })
    if (raised.length === 0) return
    const data = { result: 'INCOMPLETE', findings: [{ ...ACTIONS.finalizeRun, detail: alert.message }] }
    const event = { id: newId(), type: 'audit.reconciliation.failed', time: at.toISOString(), data } as const
    await appendEvents(tx, [{ tenantId, runId, events: [event] }])
  }
  await database.transaction(raise).catch((error) => {
    log.error({ error, tenantId, runId }, 'the alert of a blocked completion could not be stored')
  })
}
