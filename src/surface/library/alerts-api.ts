import { type AlertFilter, acknowledge, findAlert, listAlerts, type StoredAlert } from '../../domains/alerts/alerts.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** Alerts, as programs use them. A `tenantId` that is null or left out means every tenant, for operators. */
export interface AlertsApi {
  /** Alerts, the latest raised first; those that are open unless another state is asked for, 100 unless told, 1,000 at most. */
  list(filter?: Partial<AlertFilter>): Promise<StoredAlert[]>
  /** Notes who looks after it: it stays until its cause is gone. Fails with `ALERT_NOT_FOUND` unless it fires. */
  ack(alertId: string, by: string, tenantId?: string): Promise<StoredAlert>
}

const LIST_DEFAULT = 100
const LIST_MAX = 1_000

export function createAlertsApi(database: Database): AlertsApi {
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
  }
}

function notFiring({ alertId, state, acknowledgedBy }: StoredAlert): AppError {
  const by = state === 'acknowledged' ? ` by ${acknowledgedBy}` : ''
  return new AppError('ALERT_NOT_FOUND', `alert ${alertId} does not fire: it is ${state}${by}`, { details: { state } })
}
