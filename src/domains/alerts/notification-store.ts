import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { StoredAlert } from './alert.ts'
import { ALERT_COLUMNS } from './alert-store.ts'
import { type FatigueState, NO_FATIGUE } from './fatigue.ts'
import { INHIBITED_SQL } from './inhibition.ts'
import { SILENCED_UNTIL_SQL } from './silences.ts'

/** An alert as whoever notifies of it must know it. */
export interface NotifiableAlert extends StoredAlert {
  /** What people were told of it last, and when that was due to be sent; null: nothing yet. */
  readonly told: 'firing' | 'resolved' | null
  readonly toldAt: Date | null
  readonly isInhibited: boolean
  /** Null: no silence mutes it. */
  readonly silencedUntil: Date | null
}

const SELECT = statement(
  'alerts_notifiable',
  `select ${ALERT_COLUMNS}, a.told, a.told_at as "toldAt", (${INHIBITED_SQL}) as "isInhibited", ${SILENCED_UNTIL_SQL} as "silencedUntil"
     from concordat.alerts a where a.alert_id = any($1::uuid[])`,
)

export async function notifiableAlerts(tx: Tx, alertIds: readonly string[]): Promise<NotifiableAlert[]> {
  return tx.query<NotifiableAlert>(SELECT, [alertIds])
}

export interface Told {
  readonly alertId: string
  readonly told: 'firing' | 'resolved'
  readonly at: Date
}

const TOLD = rowSet<Told>({
  alert_id: ['uuid', (each) => each.alertId],
  told: ['text', (each) => each.told],
  told_at: ['timestamptz', (each) => each.at],
})
const SET_TOLD = statement(
  'alerts_set_told',
  `update concordat.alerts a set told = x.told, told_at = x.told_at from ${TOLD.from(1)} as x where a.alert_id = x.alert_id`,
)

export async function setTold(tx: Tx, told: readonly Told[]): Promise<void> {
  if (told.length > 0) await tx.query(SET_TOLD, TOLD.values(told))
}

const SILENCE = statement('alerts_silence', 'update concordat.alerts set silenced_until = $2 where alert_id = $1')

/** Nobody is told of it until then. */
export async function silenceAlert(tx: Tx, alertId: string, until: Date): Promise<void> {
  await tx.query(SILENCE, [alertId, until])
}

const TAKE_AUDIBLE = statement(
  'alerts_take_audible',
  `update concordat.alerts a set silenced_until = null
     from (select o.ctid as address from concordat.alerts o
            where o.silenced_until <= statement_timestamp() order by o.silenced_until limit $1 for no key update skip locked) due
    where a.ctid = due.address
   returning a.alert_id as "alertId", a.tenant_id as "tenantId", a.state = 'firing' as "isFiring"`,
)

/** Takes alerts whose silence has ended; of those that still fire people are to be told by the same transaction. */
export async function takeAudible(
  tx: Tx,
  max: number,
): Promise<{ readonly alertId: string; readonly tenantId: string; readonly isFiring: boolean }[]> {
  return tx.query(TAKE_AUDIBLE, [max])
}

const LOCK_FATIGUE = statement(
  'alert_fatigue_lock',
  `insert into concordat.alert_fatigue (tenant_id, state) values ($1, $2)
   on conflict (tenant_id) do update set tenant_id = excluded.tenant_id returning state`,
)

/** What fatigue control remembers of a tenant; its decisions are made one after the other, whoever makes them. */
export async function lockFatigue(tx: Tx, tenantId: string): Promise<FatigueState> {
  const [row] = await tx.query<{ state: FatigueState }>(LOCK_FATIGUE, [tenantId, JSON.stringify(NO_FATIGUE)])
  return row?.state ?? NO_FATIGUE
}

export async function saveFatigue(tx: Tx, tenantId: string, state: FatigueState): Promise<void> {
  await tx.query(`update concordat.alert_fatigue set state = $2 where tenant_id = $1`, [
    tenantId,
    JSON.stringify(state),
  ])
}
