import { safeText } from '../../foundation/payload-codec.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type IncidentOutcome, outcomeOf, type RunEnding, severityOf } from './incident-rules.ts'

export {
  closeSystemIncident,
  openSystemIncident,
  openSystemIncidents,
  type SystemIncident,
} from './system-incidents.ts'

/** What a run's end leaves in the incidents domain, success included. A SUCCESS is born closed. */
export interface Incident {
  readonly tenantId: string
  readonly runId: string
  readonly incidentId: string
  readonly outcome: IncidentOutcome
  readonly status: 'open' | 'closed'
  readonly severity: string
  readonly reason: string | null
  readonly message: string | null
  readonly createdAt: Date
}

const INCIDENTS = rowSet<Incident>({
  tenant_id: ['text', (incident) => incident.tenantId],
  run_id: ['uuid', (incident) => incident.runId],
  incident_id: ['uuid', (incident) => incident.incidentId],
  outcome: ['text', (incident) => incident.outcome],
  status: ['text', (incident) => incident.status],
  severity: ['text', (incident) => incident.severity],
  reason: ['text', (incident) => incident.reason],
  message: ['text', (incident) => incident.message],
  created_at: ['timestamptz', (incident) => incident.createdAt],
})

const INSERT_INCIDENTS = statement(
  'incidents_insert',
  `insert into concordat.incidents (${INCIDENTS.names}) select * from ${INCIDENTS.from(1)} as x`,
)

const SELECT_INCIDENT = statement(
  'incident_of_run',
  `select incident_id, outcome, status, severity, reason, message, created_at
     from concordat.incidents where tenant_id = $1 and run_id = $2`,
)

interface IncidentRow {
  incident_id: string
  outcome: IncidentOutcome
  status: 'open' | 'closed'
  severity: string
  reason: string | null
  message: string | null
  created_at: Date
}

/** The incidents domain's one public face for the flow: decides the incident of an ended run, and writes many at once. */
export const IncidentFacade = Object.freeze({
  /** Pure. One incident a run, whatever the end. */
  decide(ending: RunEnding, { incidentId, at }: { incidentId: string; at: Date }): Incident {
    const outcome = outcomeOf(ending)
    return {
      tenantId: ending.tenantId,
      runId: ending.runId,
      incidentId,
      outcome,
      status: outcome === 'SUCCESS' ? 'closed' : 'open',
      severity: severityOf(outcome),
      reason: outcome === 'SUCCESS' ? null : ending.reason,
      message: outcome === 'SUCCESS' ? null : safeText(ending.message, limits.errorMessageCharsMax),
      createdAt: at,
    }
  },

  async write(tx: Tx, incidents: readonly Incident[]): Promise<void> {
    await tx.query(INSERT_INCIDENTS, INCIDENTS.values(incidents))
  },

  async ofRun(tx: Tx, { tenantId, runId }: { tenantId: string; runId: string }): Promise<Incident | null> {
    const [row] = await tx.query<IncidentRow>(SELECT_INCIDENT, [tenantId, runId])
    if (!row) return null
    return {
      tenantId,
      runId,
      incidentId: row.incident_id,
      outcome: row.outcome,
      status: row.status,
      severity: row.severity,
      reason: row.reason,
      message: row.message,
      createdAt: row.created_at,
    }
  },
})
