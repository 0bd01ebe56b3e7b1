import type { Alert, AuditAlertType } from '../../domains/alerts/alerts.ts'
import { ACTIONS, type Finding } from '../../domains/audit/audit.ts'
import { blockedAlert, CONTRACT_SUBJECT } from '../completion/completion.ts'

/** What was found of one run, and what keeps it from ending. */
export interface FoundOfRun {
  readonly tenantId: string
  readonly runId: string
  readonly findings: readonly Finding[]
  readonly blockedBy: string | null
  readonly blockedBecause: string | null
}

const TYPE_OF = Object.freeze({
  missing: 'MISSING_ACK',
  overdue: 'EXPECTATION_TIMEOUT',
  drift: 'DRIFT',
  stale: 'STALE_RUN',
  invalid_contract: 'RECONCILIATION_FAILED',
}) satisfies Record<Finding['kind'], AuditAlertType>

/**
 * Pure. The alerts that stand for a run as it was found: one a finding, and one where a domain refuses its end. A run
 * that is parked has one cause, and so one alert: what only its end can acknowledge is overdue because of that, and a
 * contract that is not valid is what it is parked for.
 */
export function standingAlerts(run: FoundOfRun): Alert[] {
  const { tenantId, runId, findings, blockedBy, blockedBecause } = run
  const isParked = blockedBy !== null
  const own = findings.filter(({ kind, action }) => {
    return !(isParked && kind === 'overdue' && action !== ACTIONS.startTrace.action)
  })
  const found = own.map(({ kind, domain, action, detail }): Alert => {
    const of = { tenantId, runId, type: TYPE_OF[kind] }
    if (kind === 'invalid_contract') {
      return { ...of, subject: CONTRACT_SUBJECT, domain: 'audit', message: `${domain}/${action}: ${detail}` }
    }
    return { ...of, subject: `${domain}/${action}`, domain, message: `${domain}/${action}: ${detail}` }
  })
  return !isParked ? found : [...found, blockedAlert({ tenantId, runId }, blockedBy, blockedBecause ?? '')]
}
