import { type Action, type AuditExpectation, hasDeadline, sameAction } from '../../domains/audit/audit.ts'
import { AppError } from '../../foundation/app-error.ts'

/**
 * GOVERNANCE_CHECK, pure: every declared expectation must be met by an ack already stored or by one that the facades
 * have decided for this completion. Throws `CONTRACT_UNMET` for one met by neither or without a deadline: the run may
 * not finalise.
 */
export function checkGovernance(
  expectations: readonly AuditExpectation[],
  acked: readonly string[],
  decided: readonly Action[],
): void {
  const unmet = expectations.flatMap((expectation) => {
    const { domain, action, deadlineMs } = expectation
    if (!hasDeadline(deadlineMs)) return [`${domain}/${action} has no deadline`]
    if (acked.includes(`${domain}/${action}`) || decided.some((ack) => sameAction(ack, expectation))) return []
    return [`${domain}/${action} is met by no domain`]
  })
  if (unmet.length > 0) throw new AppError('CONTRACT_UNMET', unmet.join('; '), { details: { unmet } })
}
