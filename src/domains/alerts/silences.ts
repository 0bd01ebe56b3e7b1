import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { AuditAlertType } from './alert.ts'

/** Mutes notifications until it ends; null means any. The alerts are stored all the same. */
export interface Silence {
  readonly silenceId: string
  readonly tenantId: string | null
  readonly runId: string | null
  readonly type: AuditAlertType | null
  readonly until: Date
  readonly by: string
  readonly createdAt: Date
}

const COLUMNS = `silence_id as "silenceId", tenant_id as "tenantId", run_id as "runId", type, until, silenced_by as "by",
  created_at as "createdAt"`

/** Null: its end has passed, or there is no such tenant. */
export async function addSilence(tx: Tx, silence: Omit<Silence, 'createdAt'>): Promise<Silence | null> {
  const { silenceId, tenantId, runId, type, until, by } = silence
  const [row] = await tx.query<Silence>(
    `insert into concordat.alert_silences (silence_id, tenant_id, run_id, type, until, silenced_by)
     select $1, $2, $3, $4, $5, $6
      where $5::timestamptz > clock_timestamp()
        and ($2::text is null or exists (select from concordat.tenants t where t.tenant_id = $2))
     returning ${COLUMNS}`,
    [silenceId, tenantId, runId, type, until.toISOString(), safeText(by, limits.personNameCharsMax)],
  )
  return row ?? null
}

/** Silences that have not ended, the first to end first. */
export async function activeSilences(tx: Tx, tenantId: string | null): Promise<Silence[]> {
  return tx.query<Silence>(
    `select ${COLUMNS} from concordat.alert_silences
      where until > clock_timestamp() and ($1::text is null or tenant_id is null or tenant_id = $1) order by until limit 1000`,
    [tenantId],
  )
}

/** SQL: until when silences mute an alert `a`; null: none does. */
export const SILENCED_UNTIL_SQL = `(select max(s.until) from concordat.alert_silences s
   where s.until > clock_timestamp() and (s.tenant_id is null or s.tenant_id = a.tenant_id)
     and (s.run_id is null or s.run_id = a.run_id) and (s.type is null or s.type = a.type))`
