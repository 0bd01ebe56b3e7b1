export const AuditAlertType = Object.freeze({
  MISSING_ACK: 'MISSING_ACK',
  DRIFT: 'DRIFT',
  STALE_RUN: 'STALE_RUN',
  RECONCILIATION_FAILED: 'RECONCILIATION_FAILED',
  EXPECTATION_TIMEOUT: 'EXPECTATION_TIMEOUT',
})
export type AuditAlertType = keyof typeof AuditAlertType

export const AlertSeverity = Object.freeze({ warning: 'warning', error: 'error', critical: 'critical' })
export type AlertSeverity = keyof typeof AlertSeverity

export const SEVERITY_OF = Object.freeze({
  MISSING_ACK: 'error',
  DRIFT: 'warning',
  STALE_RUN: 'error',
  RECONCILIATION_FAILED: 'critical',
  EXPECTATION_TIMEOUT: 'warning',
}) satisfies Record<AuditAlertType, AlertSeverity>

/** `firing → acknowledged → resolved`; what is resolved and found again is the same row, firing once more. */
export type AlertState = 'firing' | 'acknowledged' | 'resolved'

/** One thing that is wrong with one run. There is one row per tenant, run, type and subject, however often it is found. */
export interface Alert {
  readonly tenantId: string
  readonly runId: string
  readonly type: AuditAlertType
  /** What it is about, so that a run can have several of one type: `incidents/create_incident`. */
  readonly subject: string
  /** Whose it is: fatigue control counts by domain. */
  readonly domain: string
  readonly message: string
}

export interface StoredAlert extends Alert {
  readonly alertId: string
  readonly severity: AlertSeverity
  readonly state: AlertState
  /** How often it has begun to fire. */
  readonly times: number
  readonly raisedAt: Date
  readonly acknowledgedAt: Date | null
  readonly acknowledgedBy: string | null
  readonly resolvedAt: Date | null
}

/** Equal for two findings of the same row. */
export function alertKey({ runId, type, subject }: Alert): string {
  return `${runId} ${type} ${subject}`
}
