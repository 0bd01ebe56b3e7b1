import { type AuditExpectation, type DomainAck, sameAction } from './contract.ts'

export type ReconciliationResult = 'COMPLETE' | 'INCOMPLETE' | 'STALE'

/** What is wrong between what was expected of a run and what was acknowledged. */
export interface Finding {
  readonly kind: 'missing' | 'drift' | 'stale' | 'invalid_contract'
  readonly domain: string
  readonly action: string
  readonly detail: string
}

export interface ContractFacts {
  readonly expected: readonly AuditExpectation[]
  readonly acks: readonly DomainAck[]
  readonly ended: boolean
  /** When `finalize_run` is due; null while the run has not started to execute. */
  readonly finalizeDueAt: Date | null
}

export interface Reconciliation {
  readonly result: ReconciliationResult
  readonly findings: readonly Finding[]
}

/**
 * Compares the contract with what is stored, and nothing else: expected without a SUCCESS ack is `missing`; a SUCCESS
 * ack that nobody expected, or a second one, is `drift`; a run past its time without `finalize_run` is `stale`. FAILED
 * and ROLLED_BACK acks are history. A run that has not ended misses nothing yet.
 */
export function reconcile({ expected, acks, ended, finalizeDueAt }: ContractFacts, now: Date): Reconciliation {
  const findings: Finding[] = []
  const done = acks.filter((ack) => ack.status === 'SUCCESS')
  for (const expectation of expected) {
    const { domain, action } = expectation
    if (expectation.deadlineMs === null || !(expectation.deadlineMs > 0)) {
      findings.push({ kind: 'invalid_contract', domain, action, detail: 'the expectation has no deadline' })
    }
    if (done.some((ack) => sameAction(ack, expectation))) continue
    if (ended) findings.push({ kind: 'missing', domain, action, detail: missingDetail(expectation, acks) })
    else if (action === 'finalize_run' && finalizeDueAt !== null && now > finalizeDueAt) {
      findings.push({ kind: 'stale', domain, action, detail: `not finalised by ${finalizeDueAt.toISOString()}` })
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

function missingDetail(expectation: AuditExpectation, acks: readonly DomainAck[]): string {
  const last = acks.findLast((ack) => sameAction(ack, expectation))
  return last ? `only ${last.status}: ${last.error ?? 'no reason given'}` : 'never acknowledged'
}

function resultOf(findings: readonly Finding[]): ReconciliationResult {
  if (findings.some((finding) => finding.kind === 'stale')) return 'STALE'
  return findings.length > 0 ? 'INCOMPLETE' : 'COMPLETE'
}
