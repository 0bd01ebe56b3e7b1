import { ACTIONS, type Action } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'

const KEYS = rowSet<RunKey>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

const PRESENT = statement(
  'records_present',
  `select x.run_id as "runId",
          (select true from concordat.incidents i where i.tenant_id = x.tenant_id and i.run_id = x.run_id limit 1) as incident,
          (select true from concordat.policy_evaluations e where e.tenant_id = x.tenant_id and e.run_id = x.run_id limit 1) as evaluation,
          (select t.ending is not null from concordat.traces t
            where t.tenant_id = x.tenant_id and t.run_id = x.run_id limit 1) as trace
     from ${KEYS.from(1)} as x`,
)

interface Present {
  readonly runId: string
  readonly incident: boolean | null
  readonly evaluation: boolean | null
  readonly trace: boolean | null
}

/**
 * Of each run what its domains acknowledge at its end and of which no record is stored. The acks say what was done; only
 * the rows themselves say that it is still there.
 */
export async function unrecordedOf(tx: Tx, runs: readonly RunKey[]): Promise<Map<string, readonly Action[]>> {
  const rows = await tx.query<Present>(PRESENT, KEYS.values(runs))
  return new Map(
    rows.map(({ runId, incident, evaluation, trace }) => {
      const absent = [
        ...(incident ? [] : [ACTIONS.createIncident]),
        ...(evaluation ? [] : [ACTIONS.evaluatePolicy]),
        ...(trace ? [] : [ACTIONS.completeTrace]),
      ]
      return [runId, absent]
    }),
  )
}
