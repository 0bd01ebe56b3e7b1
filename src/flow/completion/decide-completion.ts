import { ACTIONS, type Action, ackOf, type DomainAck } from '../../domains/audit/audit.ts'
import { type RunEnd, type RunOutcome, walkToEnd } from '../../domains/runs/runs.ts'
import { type TraceEnd, traceIdOf } from '../../domains/traces/traces.ts'
import { eventIdsAt, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import { usdFromNano } from '../../foundation/money.ts'
import { type FinishedRun, type HeldRun, stoppedEnd } from '../kernel/kernel.ts'
import type { CompletionRequest } from './completion-request.ts'
import { checkGovernance } from './governance-check.ts'
import { GovernanceFacade, type GovernanceRecords } from './governance-facade.ts'
import type { PoliciesAtEnd } from './policies-at-end.ts'

/** Everything that one run's end will write, decided before the first row of it is. */
export interface DecidedCompletion {
  readonly request: CompletionRequest
  readonly held: HeldRun
  readonly governance: GovernanceRecords
  readonly traceEnd: TraceEnd
  readonly finished: FinishedRun
  /** In the order of the statements that they report: incident, policy, trace, run. */
  readonly acks: readonly DomainAck[]
  readonly events: readonly RunEvent[]
  readonly at: Date
}

export interface DecisionInputs {
  readonly policies: PoliciesAtEnd
  /** OBSERVE_ONLY. */
  readonly muted: boolean
  /** What `observability` says of a run whose trace has gaps. */
  readonly degradedAs: 'DEGRADED' | 'NONE'
  readonly at: Date
  readonly newId: IdSource
  /** Set when the run was not locked and read for this. */
  readonly known: FinishedRun['known']
}

/** Pure. Every domain decides its part of the run's end; the contract is held against it. Throws `CONTRACT_UNMET`. */
export function decideCompletion(request: CompletionRequest, held: HeldRun, inputs: DecisionInputs): DecidedCompletion {
  const { at, degradedAs } = inputs
  const time = at.toISOString()
  const { tenantId, runId, totals } = held
  const end = endOf(request, held)
  const governance = GovernanceFacade.decide(held, end, { ...inputs, windowUses: request.windowUses })
  const traceEnd: TraceEnd = {
    tenantId,
    runId,
    ending: endingOf(governance.status, end.lastStepRecorded),
    endedAt: at,
    stepCount: totals.steps,
    gapCount: totals.traceGaps,
    startedLate: !held.traceStarted,
  }
  const acks = decideAcks(held, governance, request.earlierAttempts + 1)
  checkGovernance(held.expectations, held.acked, acks)
  const succeeded = governance.status === 'succeeded'
  const finished: FinishedRun = {
    tenantId,
    runId,
    leaseToken: request.lease.leaseToken,
    address: request.lease.address,
    phase: succeeded ? 'COMPLETED' : 'FAILED',
    outcome: governance.status,
    reason: succeeded ? null : governance.reason,
    output: end.output,
    error: end.error,
    transitions: walkToEnd(held.phase, governance.status, succeeded ? 'its domains agree' : governance.reason, time),
    observability: totals.traceGaps > 0 || !held.traceStarted ? degradedAs : 'FULL',
    ...totals,
    stop: request.stop,
    endedAt: at,
    parentRunId: held.parentRunId,
    hasOpenChildren: held.hasOpenChildren,
    known: inputs.known,
    reserves: request.reserves ?? true,
  }
  return {
    request,
    held,
    governance,
    traceEnd,
    finished,
    acks,
    events: decideEvents(held, governance, traceEnd, { at, time }),
    at,
  }
}

/** Whoever executes a run ends it by a stop once it has heard of it; where nobody executes it, a stop is its end. */
export function obeysStop({ stop, lease }: CompletionRequest): boolean {
  return stop !== null || lease.workerId === null
}

/** Whoever executes a run learns of a stop only that it came; the run's row knows from whom, and of what kind. */
function endOf(request: CompletionRequest, { stop }: HeldRun): RunEnd {
  return stop && obeysStop(request) ? stoppedEnd(stop) : request.end
}

function endingOf(status: RunOutcome, lastStepRecorded: boolean): TraceEnd['ending'] {
  if (status === 'succeeded') return 'COMPLETE'
  return status === 'failed' && lastStepRecorded ? 'COMPLETE' : 'ABORTED'
}

/** True when a SUCCESS ack of it is stored: always of a started trace, else only after a legacy try that died halfway. */
export function isAcknowledged({ acked }: HeldRun, { domain, action }: Action): boolean {
  return acked.includes(`${domain}/${action}`)
}

function decideAcks(held: HeldRun, { incident, evaluation }: GovernanceRecords, attempt: number): DomainAck[] {
  const traceId = traceIdOf(held.runId)
  const results: readonly [Action, string][] = [
    [ACTIONS.createIncident, incident.incidentId],
    [ACTIONS.evaluatePolicy, evaluation.evaluationId],
    [ACTIONS.startTrace, traceId],
    [ACTIONS.completeTrace, traceId],
    [ACTIONS.finalizeRun, held.runId],
  ]
  return results
    .filter(([action]) => !isAcknowledged(held, action))
    .map(([action, resultId]) => ackOf(action, 'SUCCESS', { resultId, attempt }))
}

function decideEvents(
  held: HeldRun,
  governance: GovernanceRecords,
  traceEnd: TraceEnd,
  { at, time }: { readonly at: Date; readonly time: string },
): RunEvent[] {
  const { status, reason, incident, evaluation } = governance
  const { steps, tokensIn, tokensOut, costNanoUsd } = held.totals
  const idOf = eventIdsAt(held.runId, at)
  const event = (type: RunEvent['type'], data: RunEvent['data']): RunEvent => ({ id: idOf(type), type, time, data })
  const costUsd = costNanoUsd === null ? null : usdFromNano(costNanoUsd)
  const { incidentId, outcome, severity } = incident
  const evaluated = { evaluationId: evaluation.evaluationId, outcome: evaluation.verdict.outcome }
  const ended = { traceId: traceIdOf(held.runId), ending: traceEnd.ending }
  const unless = (action: Action, first: RunEvent) => (isAcknowledged(held, action) ? [] : [first])
  return [
    ...unless(ACTIONS.createIncident, event('incident.created', { incidentId, outcome, severity })),
    ...unless(ACTIONS.evaluatePolicy, event('policy.evaluated', evaluated)),
    ...unless(ACTIONS.completeTrace, event('trace.completed', ended)),
    event(status === 'succeeded' ? 'run.completed' : 'run.failed', {
      agent: held.agent,
      status,
      reason: status === 'succeeded' ? null : reason,
      steps,
      tokensIn,
      tokensOut,
      costUsd,
    }),
  ]
}
