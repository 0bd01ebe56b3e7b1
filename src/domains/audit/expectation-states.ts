import { type AckOutcome, type AuditExpectation, hasDeadline, sameAction } from './contract.ts'

/** An expectation as it stands: due when its anchor is set, met when a SUCCESS ack is stored. */
export interface ExpectationState extends AuditExpectation {
  readonly dueAt: Date | null
  readonly status: 'PENDING' | 'ACKED' | 'MISSING' | 'FAILED'
  /** Due, still `PENDING`, and the run has not ended. */
  readonly overdue: boolean
}

/** What the deadlines of a run count from. */
export interface Anchors {
  readonly executionStartedAt: Date | null
  readonly executionEndedAt: Date | null
  /** When the run's present stretch of executing began; null while it waits or has ended. */
  readonly activeSince: Date | null
  /** Time that it executed before that stretch, in milliseconds. */
  readonly activeMs: number
  readonly ended: boolean
}

export function expectationStates(
  expected: readonly AuditExpectation[],
  acks: readonly AckOutcome[],
  anchors: Anchors,
  now: Date,
): ExpectationState[] {
  return expected.map((expectation) => {
    const dueAt = dueAtOf(expectation, anchors)
    const status = statusOf(expectation, acks, anchors)
    const deadlineMs = hasDeadline(expectation.deadlineMs) ? expectation.deadlineMs : null
    return { ...expectation, deadlineMs, dueAt, status, overdue: status === 'PENDING' && dueAt !== null && now > dueAt }
  })
}

/** When an expectation is due; null while that is open: its anchor is not set, or it has no deadline. */
export function dueAtOf({ action, anchor, deadlineMs }: AuditExpectation, anchors: Anchors): Date | null {
  if (!hasDeadline(deadlineMs)) return null
  if (action === 'finalize_run') return finalizeDueAt(deadlineMs, anchors)
  const from = anchor === 'EXECUTION_START' ? anchors.executionStartedAt : anchors.executionEndedAt
  return from && new Date(from.getTime() + deadlineMs)
}

/**
 * Paused and waiting time do not count, so while a run is paused or waits it is not due at all, unless it had used up its
 * time before: then it has been due at the latest since its start would have allowed. A parked run does not wait: it has
 * nothing left but to be finalised, so its time goes on from the end of its execution. Of a run that has ended,
 * `activeMs` holds all that it executed.
 */
function finalizeDueAt(deadlineMs: number, anchors: Anchors): Date | null {
  const { executionStartedAt, executionEndedAt, activeSince, activeMs } = anchors
  const usedUp = activeMs > deadlineMs && executionStartedAt
  if (usedUp) return new Date(usedUp.getTime() + deadlineMs)
  const from = executionStartedAt && (executionEndedAt ?? activeSince)
  return from && new Date(from.getTime() + deadlineMs - activeMs)
}

/** When the next of a run's unmet expectations will be due; null when none will, as things stand. */
export function nextDueAt(states: readonly ExpectationState[], now: Date): Date | null {
  const times = states.flatMap(({ status, dueAt }) => {
    return status === 'PENDING' && dueAt !== null && dueAt >= now ? [dueAt.getTime()] : []
  })
  return times.length > 0 ? new Date(Math.min(...times)) : null
}

function statusOf(
  expectation: AuditExpectation,
  acks: readonly AckOutcome[],
  { ended }: Anchors,
): ExpectationState['status'] {
  const own = acks.filter((ack) => sameAction(ack, expectation))
  if (own.some((ack) => ack.status === 'SUCCESS')) return 'ACKED'
  if (!ended) return 'PENDING'
  return own.at(-1)?.status === 'FAILED' ? 'FAILED' : 'MISSING'
}
