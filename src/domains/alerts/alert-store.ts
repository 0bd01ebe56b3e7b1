import { safeText } from '../../foundation/payload-codec.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type Alert, type AlertState, alertKey, SEVERITY_OF, type StoredAlert } from './alert.ts'

export interface RunKeys {
  readonly tenantId: string
  readonly runId: string
}

interface NewAlert {
  readonly alert: Alert
  readonly alertId: string
  readonly at: Date
}

const ALERTS = rowSet<NewAlert>({
  tenant_id: ['text', ({ alert }) => alert.tenantId],
  run_id: ['uuid', ({ alert }) => alert.runId],
  type: ['text', ({ alert }) => alert.type],
  subject: ['text', ({ alert }) => alert.subject],
  domain: ['text', ({ alert }) => alert.domain],
  alert_id: ['uuid', (each) => each.alertId],
  severity: ['text', ({ alert }) => SEVERITY_OF[alert.type]],
  message: ['text', ({ alert }) => safeText(alert.message, limits.errorMessageCharsMax)],
  raised_at: ['timestamptz', (each) => each.at],
})

export const ALERT_COLUMNS = `a.tenant_id as "tenantId", a.run_id as "runId", a.alert_id as "alertId", a.type, a.subject, a.domain, a.severity,
   a.state, a.message, a.times, a.raised_at as "raisedAt", a.acknowledged_at as "acknowledgedAt",
   a.acknowledged_by as "acknowledgedBy", a.resolved_at as "resolvedAt"`

const RAISE = statement(
  'alerts_raise',
  `insert into concordat.alerts as a (${ALERTS.names}, state)
   select x.*, 'firing' from ${ALERTS.from(1)} as x
   on conflict (tenant_id, run_id, type, subject) do update
     set state = 'firing', message = excluded.message, raised_at = excluded.raised_at, times = a.times + 1,
         acknowledged_at = null, acknowledged_by = null, resolved_at = null
     where a.state = 'resolved'
   returning ${ALERT_COLUMNS}`,
)

/** Raises what does not fire yet, one row a key, and returns that; what fires already stays as it is. */
export async function raise(tx: Tx, alerts: readonly Alert[], newId: () => string, at: Date): Promise<StoredAlert[]> {
  const byKey = new Map(alerts.map((alert) => [alertKey(alert), alert]))
  if (byKey.size === 0) return []
  const rows = [...byKey].toSorted(([a], [b]) => (a < b ? -1 : 1)) // one order, so that no two raisers wait for each other
  return tx.query<StoredAlert>(RAISE, ALERTS.values(rows.map(([, alert]) => ({ alert, alertId: newId(), at }))))
}

const KEYS = rowSet<RunKeys>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

const RESOLVE = statement(
  'alerts_resolve_others',
  `update concordat.alerts a set state = 'resolved', resolved_at = $3
     from ${KEYS.from(1)} as x
    cross join lateral (
      select o.ctid as address from concordat.alerts o
       where o.tenant_id = x.tenant_id and o.run_id = x.run_id and o.state <> 'resolved'
         and o.run_id || ' ' || o.type || ' ' || o.subject <> all($4::text[])
       order by o.type, o.subject for no key update) cleared
    where a.ctid = cleared.address
   returning ${ALERT_COLUMNS}`,
)

/** Resolves all alerts of the runs but those that stand, and returns what was resolved. */
export async function resolveOthers(
  tx: Tx,
  runs: readonly RunKeys[],
  standing: readonly Alert[],
  at: Date,
): Promise<StoredAlert[]> {
  return tx.query<StoredAlert>(RESOLVE, [...KEYS.values(runs), at.toISOString(), standing.map(alertKey)])
}

const ACKNOWLEDGE = statement(
  'alerts_acknowledge',
  `update concordat.alerts a set state = 'acknowledged', acknowledged_at = clock_timestamp(), acknowledged_by = $2
    where a.alert_id = $1 and a.state = 'firing' and ($3::text is null or a.tenant_id = $3)
   returning ${ALERT_COLUMNS}`,
)

/** Null: there is no such alert, or it does not fire. */
export async function acknowledge(
  tx: Tx,
  alertId: string,
  by: string,
  tenantId: string | null,
): Promise<StoredAlert | null> {
  const [row] = await tx.query<StoredAlert>(ACKNOWLEDGE, [alertId, safeText(by, limits.personNameCharsMax), tenantId])
  return row ?? null
}

export async function findAlert(tx: Tx, alertId: string, tenantId: string | null): Promise<StoredAlert | null> {
  const [row] = await tx.query<StoredAlert>(
    `select ${ALERT_COLUMNS} from concordat.alerts a where alert_id = $1 and ($2::text is null or tenant_id = $2)`,
    [alertId, tenantId],
  )
  return row ?? null
}

export async function alertsOfRun(tx: Tx, { tenantId, runId }: RunKeys): Promise<StoredAlert[]> {
  return tx.query<StoredAlert>(
    `select ${ALERT_COLUMNS} from concordat.alerts a where tenant_id = $1 and run_id = $2 order by raised_at, type, subject`,
    [tenantId, runId],
  )
}

export interface AlertFilter {
  /** Null: of every tenant, for operators. */
  readonly tenantId: string | null
  /** `open`: firing or acknowledged. */
  readonly state: AlertState | 'open' | 'all'
  readonly limit: number
}

const LIST_CONDITIONS = {
  open: `state <> 'resolved'`,
  firing: `state = 'firing'`,
  acknowledged: `state = 'acknowledged'`,
  resolved: `state = 'resolved'`,
  all: 'true',
} as const satisfies Record<AlertFilter['state'], string>

/** Alerts, the latest raised first. */
export async function listAlerts(tx: Tx, { tenantId, state, limit }: AlertFilter): Promise<StoredAlert[]> {
  return tx.query<StoredAlert>(
    `select ${ALERT_COLUMNS} from concordat.alerts a
      where ${LIST_CONDITIONS[state]} and ($1::text is null or tenant_id = $1)
      order by raised_at desc, alert_id desc limit $2`,
    [tenantId, limit],
  )
}
