import { safeText } from '../../foundation/payload-codec.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

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

const SEVERITY_OF = Object.freeze({
  MISSING_ACK: 'error',
  DRIFT: 'warning',
  STALE_RUN: 'error',
  RECONCILIATION_FAILED: 'critical',
  EXPECTATION_TIMEOUT: 'warning',
}) satisfies Record<AuditAlertType, AlertSeverity>

/** One thing that is wrong with one run. There is one row per tenant, run, type and subject, however often it is found. */
export interface Alert {
  readonly tenantId: string
  readonly runId: string
  readonly type: AuditAlertType
  readonly subject: string
  readonly message: string
}

const RAISE = statement(
  'alerts_raise',
  `insert into concordat.alerts as a (tenant_id, run_id, type, subject, alert_id, severity, state, message, raised_at)
   values ($1, $2, $3, $4, $5, $6, 'firing', $7, now())
   on conflict (tenant_id, run_id, type, subject) do update
     set state = 'firing', message = excluded.message, raised_at = excluded.raised_at, resolved_at = null
     where a.state = 'resolved'`,
)

const RESOLVE = statement(
  'alerts_resolve',
  `update concordat.alerts set state = 'resolved', resolved_at = now()
    where tenant_id = $1 and run_id = $2 and type = $3 and state <> 'resolved'`,
)

/** Raises the alert in the transaction that finds its cause; raising it again changes nothing while it is firing. */
export async function raiseAlert(tx: Tx, alert: Alert, alertId: string): Promise<void> {
  const { tenantId, runId, type, subject, message } = alert
  await tx.query(RAISE, [
    tenantId,
    runId,
    type,
    subject,
    alertId,
    SEVERITY_OF[type],
    safeText(message, limits.errorMessageCharsMax),
  ])
}

/** Resolves what fires of this type for the run, in the transaction that ends the cause. */
export async function resolveAlerts(
  tx: Tx,
  { tenantId, runId, type }: Omit<Alert, 'subject' | 'message'>,
): Promise<void> {
  await tx.query(RESOLVE, [tenantId, runId, type])
}

export interface StoredAlert extends Alert {
  readonly severity: AlertSeverity
  readonly state: 'firing' | 'acknowledged' | 'resolved'
  readonly raisedAt: Date
  readonly resolvedAt: Date | null
}

export async function alertsOfRun(
  tx: Tx,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<StoredAlert[]> {
  return tx.query<StoredAlert>(
    `select tenant_id as "tenantId", run_id as "runId", type, subject, message, severity, state,
            raised_at as "raisedAt", resolved_at as "resolvedAt"
       from concordat.alerts where tenant_id = $1 and run_id = $2 order by raised_at`,
    [tenantId, runId],
  )
}
