import { type AckOutcome, type Action, type AuditExpectation, hasDeadline, sameAction } from './contract.ts'
import { type Anchors, dueAtOf } from './expectation-states.ts'

export type ReconciliationResult = 'COMPLETE' | 'INCOMPLETE' | 'STALE'

/** What is wrong between what was expected of a run and what was acknowledged. */
export interface Finding {
  readonly kind: 'missing' | 'overdue' | 'drift' | 'stale' | 'invalid_contract'
  readonly domain: string
  readonly action: string
  readonly detail: string
}

export interface ContractFacts {
  readonly expected: readonly AuditExpectation[]
  readonly acks: readonly AckOutcome[]
  readonly anchors: Anchors
  /** Acknowledged actions of an ended run whose record is not there (any more). */
  readonly unrecorded?: readonly Action[]
}

export interface Reconciliation {
  readonly result: ReconciliationResult
  readonly findings: readonly Finding[]
}

/** Judges runs by their contracts. Pure: it reads neither a clock nor a database. */
export class AuditReconciler {
  /**
   * Compares the contract with what is stored, and nothing else: expected without a SUCCESS ack is `missing`, and so is
   * what was acknowledged and is not there; a SUCCESS ack that nobody expected, or a second one, is `drift`; a run past its
   * time without `finalize_run` is `stale`. FAILED and ROLLED_BACK acks are history. A run that has not ended misses
   * nothing yet: what is past its time is `overdue`.
   */
  reconcile({ expected, acks, anchors, unrecorded = [] }: ContractFacts, now: Date): Reconciliation {
    const findings: Finding[] = []
    const done = acks.filter((ack) => ack.status === 'SUCCESS')
    for (const expectation of expected) {
      const { domain, action } = expectation
      if (!hasDeadline(expectation.deadlineMs)) {
        findings.push({ kind: 'invalid_contract', domain, action, detail: 'the expectation has no deadline' })
      }
      if (done.some((ack) => sameAction(ack, expectation))) {
        if (anchors.ended && unrecorded.some((each) => sameAction(each, expectation))) {
          findings.push({ kind: 'missing', domain, action, detail: 'acknowledged, but its record is not there' })
        }
        continue
      }
      if (anchors.ended) findings.push({ kind: 'missing', domain, action, detail: missingDetail(expectation, acks) })
      else {
        const dueAt = dueAtOf(expectation, anchors)
        if (dueAt !== null && now > dueAt) findings.push(lateFinding(expectation, dueAt))
      }
    }
    done.forEach((ack, i) => {
      const { domain, action } = ack
      if (!expected.some((expectation) => sameAction(expectation, ack))) {
        findings.push({ kind: 'drift', domain, action, detail: 'acknowledged, but nobody expected it' })
      } else if (done.findIndex((first) => sameAction(first, ack)) < i) {
        findings.push({ kind: 'drift', domain, action, detail: 'acknowledged more than once' })
      }
    })
    return { result: resultOf(findings), findings }
  }
}

/** Says only when it was due: a detail that changes with each attempt would be published as a new result each time. */
function lateFinding({ domain, action }: AuditExpectation, dueAt: Date): Finding {
  if (action !== 'finalize_run') {
    return { kind: 'overdue', domain, action, detail: `not acknowledged by ${dueAt.toISOString()}` }
  }
  return { kind: 'stale', domain, action, detail: `not finalised by ${dueAt.toISOString()}` }
}

function missingDetail(expectation: AuditExpectation, acks: readonly AckOutcome[]): string {
  const last = acks.findLast((ack) => sameAction(ack, expectation))
  return last ? `only ${last.status}: ${last.error ?? 'no reason given'}` : 'never acknowledged'
}

function resultOf(findings: readonly Finding[]): ReconciliationResult {
  if (findings.some((finding) => finding.kind === 'stale')) return 'STALE'
  return findings.length > 0 ? 'INCOMPLETE' : 'COMPLETE'
}
