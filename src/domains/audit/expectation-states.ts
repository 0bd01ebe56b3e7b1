import { type AuditExpectation, type DomainAck, sameAction } from './contract.ts'

/** An expectation as it stands: due when its anchor is set, met when a SUCCESS ack is stored. */
export interface ExpectationState extends AuditExpectation {
  readonly dueAt: Date | null
  readonly status: 'PENDING' | 'ACKED' | 'MISSING' | 'FAILED'
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

/** When `finalize_run` is due. Waiting time does not count, so while a run waits it is not due at all. */
export function finalizeDueAt(deadlineMs: number | null, { activeSince, activeMs }: Anchors): Date | null {
  if (deadlineMs === null || activeSince === null) return null
  return new Date(activeSince.getTime() + deadlineMs - activeMs)
}

export function expectationStates(
  expected: readonly AuditExpectation[],
  acks: readonly DomainAck[],
  anchors: Anchors,
): ExpectationState[] {
  return expected.map((expectation) => {
    return { ...expectation, dueAt: dueAt(expectation, anchors), status: statusOf(expectation, acks, anchors) }
  })
}

function dueAt({ action, anchor, deadlineMs }: AuditExpectation, anchors: Anchors): Date | null {
  if (deadlineMs === null) return null
  if (action === 'finalize_run' && !anchors.ended) return finalizeDueAt(deadlineMs, anchors)
  const from = anchor === 'EXECUTION_START' ? anchors.executionStartedAt : anchors.executionEndedAt
  return from && new Date(from.getTime() + deadlineMs)
}

function statusOf(
  expectation: AuditExpectation,
  acks: readonly DomainAck[],
  { ended }: Anchors,
): ExpectationState['status'] {
  const own = acks.filter((ack) => sameAction(ack, expectation))
  if (own.some((ack) => ack.status === 'SUCCESS')) return 'ACKED'
  if (!ended) return 'PENDING'
  return own.at(-1)?.status === 'FAILED' ? 'FAILED' : 'MISSING'
}
