import { safeText } from '../../foundation/payload-codec.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** Something that is wrong with a part of Concordat itself, and with no run in particular. */
export interface SystemIncident {
  /** The part, as in `event reactor`. */
  readonly component: string
  /** Which one of them, as host and process. */
  readonly subject: string
  /** A code. */
  readonly reason: string
  readonly message: string
}

const OPEN = statement(
  'system_incident_open',
  `insert into concordat.system_incidents (incident_id, component, subject, reason, message)
   values ($1, $2, $3, $4, $5)
   on conflict (component, subject) where status = 'open' do nothing`,
)

const CLOSE = statement(
  'system_incident_close',
  `update concordat.system_incidents set status = 'closed', closed_at = clock_timestamp()
    where component = $1 and subject = $2 and status = 'open'`,
)

/** Opens an incident; while one of the same component and subject is open, it changes nothing. */
export async function openSystemIncident(tx: Tx, incident: SystemIncident, incidentId: string): Promise<void> {
  const { component, subject, reason, message } = incident
  await tx.query(OPEN, [incidentId, component, subject, reason, safeText(message, limits.errorMessageCharsMax)])
}

export async function closeSystemIncident(
  tx: Tx,
  { component, subject }: Pick<SystemIncident, 'component' | 'subject'>,
): Promise<void> {
  await tx.query(CLOSE, [component, subject])
}

/** What is wrong now, the latest first. */
export async function openSystemIncidents(tx: Tx, limit: number): Promise<SystemIncident[]> {
  return tx.query<SystemIncident>(
    `select component, subject, reason, message from concordat.system_incidents
      where status = 'open' order by created_at desc limit $1`,
    [limit],
  )
}
