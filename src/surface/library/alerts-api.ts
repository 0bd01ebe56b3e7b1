import {
  type AlertFilter,
  AuditAlertType,
  acknowledge,
  activeSilences,
  addSilence,
  findAlert,
  listAlerts,
  type Silence,
  type StoredAlert,
} from '../../domains/alerts/alerts.ts'
import { listTenants } from '../../domains/tenants/tenants.ts'
import { AppError } from '../../foundation/app-error.ts'
import { type IdSource, isId } from '../../foundation/ids.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** Alerts, as programs use them. A `tenantId` that is null or left out means every tenant, for operators. */
export interface AlertsApi {
  /** Alerts, the latest raised first; those that are open unless another state is asked for, 100 unless told, 1,000 at most. */
  list(filter?: Partial<AlertFilter>): Promise<StoredAlert[]>
  /** Notes who looks after it: it stays until its cause is gone. Fails with `ALERT_NOT_FOUND` unless it fires. */
  ack(alertId: string, by: string, tenantId?: string): Promise<StoredAlert>
  /**
   * Mutes notifications of alerts of a tenant, run and type (null: any) until it ends. The alerts are stored all the same.
   * Fails with `INVALID_REQUEST` when that is over, and with `UNKNOWN_TENANT`.
   */
  silence(silence: NewSilence): Promise<Silence>
  /** Silences that have not ended. */
  silences(tenantId?: string): Promise<Silence[]>
}

export type NewSilence = Pick<Silence, 'until' | 'by'> & Partial<Pick<Silence, 'tenantId' | 'runId' | 'type'>>

const LIST_DEFAULT = 100
const LIST_MAX = 1_000

export function createAlertsApi({ database, newId }: { database: Database; newId: IdSource }): AlertsApi {
  return {
    list({ tenantId = null, state = 'open', limit = LIST_DEFAULT } = {}) {
      return listAlerts(database, { tenantId, state, limit: Math.min(Math.max(1, limit), LIST_MAX) })
    },
    async ack(alertId, by, tenantId) {
      if (isId(alertId)) {
        const acknowledged = await acknowledge(database, alertId, by, tenantId ?? null)
        if (acknowledged) return acknowledged
        const alert = await findAlert(database, alertId, tenantId ?? null)
        if (alert) throw notFiring(alert)
      }
      throw new AppError('ALERT_NOT_FOUND', `there is no alert ${JSON.stringify(alertId)}`)
    },
    async silence({ tenantId = null, runId = null, type = null, until, by }) {
      if (runId !== null && !isId(runId))
        throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
      if (Number.isNaN(until.getTime()))
        throw new AppError('INVALID_REQUEST', 'a silence needs a time at which it ends')
      if (type !== null && !Object.hasOwn(AuditAlertType, type))
        throw new AppError('INVALID_REQUEST', `there is no type of alerts ${JSON.stringify(type)}`)
      const silence = await addSilence(database, { silenceId: newId(), tenantId, runId, type, until, by })
      if (silence) return silence
      if (tenantId !== null && !(await listTenants(database)).some((tenant) => tenant.tenantId === tenantId))
        throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
      throw new AppError('INVALID_REQUEST', `${until.toISOString()} is over: a silence ends in the future`)
    },
    silences: (tenantId) => activeSilences(database, tenantId ?? null),
  }
}

function notFiring({ alertId, state, acknowledgedBy }: StoredAlert): AppError {
  const by = state === 'acknowledged' ? ` by ${acknowledgedBy}` : ''
  return new AppError('ALERT_NOT_FOUND', `alert ${alertId} does not fire: it is ${state}${by}`, { details: { state } })
}
