import type { PolicySet } from '../../domains/policies/policies.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { endedUnder, type HeldRun, holdRuns } from '../kernel/kernel.ts'
import type { CompletionOptions } from './completion-context.ts'
import type { CompletionRequest, TransactionOutcome } from './completion-request.ts'
import { type DecidedCompletion, type DecisionInputs, decideCompletion, obeysStop } from './decide-completion.ts'
import { alreadyEnded } from './domain-results.ts'
import { policiesAtEnd, unchanged } from './policies-at-end.ts'
import { TransactionFailed, TransactionPhase } from './transaction-result.ts'

interface Sorted {
  readonly decided: readonly DecidedCompletion[]
  readonly answers: Map<CompletionRequest, TransactionOutcome>
}

/** Locks the runs, reads what the decision needs, decides. Runs that are not the caller's to end get their answer here. */
export async function holdAndDecide(
  tx: Tx,
  options: CompletionOptions,
  requests: readonly CompletionRequest[],
): Promise<Sorted> {
  const leases = requests.map((request) => request.lease)
  const [held, sets] = await Promise.all([
    holdRuns(tx, leases),
    options.policies.read(
      tx,
      leases.map((lease) => lease.tenantId),
    ),
  ])
  const policies = await policiesAtEnd(tx, [...held.values()], sets, options.policies)
  const lost = leases.filter((lease) => !held.has(lease.runId))
  const ended = lost.length > 0 ? await endedUnder(tx, lost) : new Map()
  const answers = new Map<CompletionRequest, TransactionOutcome>()
  const decided: DecidedCompletion[] = []
  for (const request of requests) {
    const run = held.get(request.lease.runId)
    const earlier = ended.get(request.lease.runId)
    if (earlier) answers.set(request, alreadyEnded(options, request, earlier))
    else if (!run) answers.set(request, { kind: 'lease_lost' })
    else if (run.stop !== null && !obeysStop(request)) answers.set(request, { kind: 'stop_first' })
    else if (hasUnseenPolicies(request, run, sets.get(run.tenantId))) answers.set(request, { kind: 'policies_first' })
    else decided.push(decideOne(options, request, run, policies.get(run.runId) ?? unchanged([]), null))
  }
  return { decided, answers }
}

/** Whether a limit may have come into force in which nobody has counted what the run used. */
function hasUnseenPolicies(
  { policiesSeen }: CompletionRequest,
  { executionStartedAt }: HeldRun,
  set: PolicySet | undefined,
): boolean {
  if (policiesSeen === undefined || !set) return false
  if (policiesSeen !== null) return set.version > policiesSeen
  return set.changedAt !== null && executionStartedAt !== null && set.changedAt >= executionStartedAt
}

/** Decides on what the workers know, without reading anything. Null when one of the runs is not known well enough. */
export function decideKnown(
  options: CompletionOptions,
  requests: readonly CompletionRequest[],
): readonly DecidedCompletion[] | null {
  const decided: DecidedCompletion[] = []
  for (const request of requests) {
    const { known } = request
    const policies = known && options.policies.at(known.run.tenantId, known.policiesVersion)
    if (!known || !policies) return null
    decided.push(decideOne(options, request, known.run, unchanged(policies), known))
  }
  return decided
}

function decideOne(
  { clock, newId, degradedAs, policyDecisionsMuted }: CompletionOptions,
  request: CompletionRequest,
  run: HeldRun,
  policies: DecisionInputs['policies'],
  known: DecisionInputs['known'],
): DecidedCompletion {
  try {
    return decideCompletion(request, run, {
      policies,
      muted: policyDecisionsMuted,
      degradedAs,
      at: clock.now(),
      newId,
      known,
    })
  } catch (error) {
    throw new TransactionFailed(run.runId, TransactionPhase.NOT_STARTED, [], error)
  }
}
