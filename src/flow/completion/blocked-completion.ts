import { raiseAlert } from '../../domains/alerts/alerts.ts'
import { type DomainAck, writeAcks } from '../../domains/audit/audit.ts'
import { type PendingEnd, RunPhase, type Transition, walk } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { backoffMs } from '../../foundation/backoff.ts'
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

/** After the run is parked, not with it: an alert that can't be stored must not keep the run from being tried again. */
async function alertOnce(options: CompletionOptions, { lease }: CompletionRequest, pending: PendingEnd): Promise<void> {
  const { tenantId, runId } = lease
  const subject = `finalize_run/${pending.blockedBy}`
  const message = `the run can't be finalised: ${pending.error}`
  const alert = { tenantId, runId, type: 'RECONCILIATION_FAILED' as const, subject, message }
  await raiseAlert(options.database, alert, options.newId()).catch((error) => {
    options.log.error({ error, tenantId, runId }, 'the alert of a blocked completion could not be stored')
  })
}
