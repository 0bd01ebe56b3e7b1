import { ACTIONS, type AckOutcome, type Action, type RunReconciliation } from '../../domains/audit/audit.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'

/** The last two are what the audit itself has kept: they remain where somebody has deleted all that the run had left. */
const RECORDS = ['traces', 'audit_acks', 'incidents', 'policy_evaluations', 'reconciliations', 'alerts']
/** How many kinds of records a run's domains acknowledge at its end: all of them absent, and no acks, is no run at all. */
const RECORDED_ACTIONS = 3

interface LostRun extends RunReconciliation {
  readonly blockedBy: null
  readonly blockedBecause: null
  readonly nextLookAt: null
}

/** Of a run whose own row is not there. */
export interface LeftOfRun {
  readonly acks: readonly AckOutcome[]
  readonly unrecorded: readonly Action[]
  /** Whether the audit has met it before. */
  readonly isKnown: boolean
}

/** Pure. A run whose row is gone; none: nothing is there, and nobody has met it, so there never was one. */
export function lostRun({ tenantId, runId }: RunKey, { acks, unrecorded, isKnown }: LeftOfRun, at: Date): LostRun[] {
  const isAllGone = acks.length === 0 && unrecorded.length === RECORDED_ACTIONS
  if (isAllGone && !isKnown) return []
  const detail = isAllGone
    ? 'its run is not there, nor any other record of it'
    : 'its run is not there, other records of it are'
  const finding = { kind: 'missing', ...ACTIONS.finalizeRun, detail } as const
  const nothingElse = { blockedBy: null, blockedBecause: null, nextLookAt: null }
  return [{ tenantId, runId, at, result: 'INCOMPLETE', findings: [finding], ...nothingElse }]
}

const KEYS = rowSet<RunKey>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

const MET = statement(
  'runs_met_by_audit',
  `select x.run_id as "runId" from ${KEYS.from(1)} as x
    where coalesce(
            (select true from concordat.reconciliations r where r.tenant_id = x.tenant_id and r.run_id = x.run_id limit 1),
            (select true from concordat.alerts a where a.tenant_id = x.tenant_id and a.run_id = x.run_id limit 1))`,
)

/** Of runs whose own rows are not there, those that the audit has met before. */
export async function metByAudit(tx: Tx, runs: readonly RunKey[]): Promise<ReadonlySet<string>> {
  if (runs.length === 0) return new Set()
  return new Set((await tx.query<{ runId: string }>(MET, KEYS.values(runs))).map(({ runId }) => runId))
}

const leftOf = (table: string, condition: string) => `
  select r.run_id from concordat.${table} r
   where ${condition}
     and not exists (select from concordat.runs x where x.tenant_id = r.tenant_id and x.run_id = r.run_id)`

const LOST_AFTER = statement(
  'runs_lost_after',
  `select $1 as "tenantId", run_id as "runId"
     from (${RECORDS.map((table) => leftOf(table, 'r.tenant_id = $1 and r.run_id > $2::uuid')).join(' union ')}) lost
    order by run_id limit $3`,
)

/** A page of a tenant's runs, those after one id, whose row is gone while other records of them are there. */
export async function lostRunsAfter(tx: Tx, tenantId: string, runId: string, limit: number): Promise<RunKey[]> {
  return tx.query<RunKey>(LOST_AFTER, [tenantId, runId, limit])
}

const FIND_LOST = statement(
  'runs_find_lost',
  `select t.tenant_id as "tenantId", $2::uuid as "runId" from concordat.tenants t
    where ($1::text is null or t.tenant_id = $1)
      and exists (${RECORDS.map((table) => leftOf(table, 'r.tenant_id = t.tenant_id and r.run_id = $2::uuid')).join(' union all ')})
    limit 1`,
)

/** The run by its id if its row is gone while other records of it are there; of any tenant where none is given. */
export async function findLostRun(tx: Tx, tenantId: string | null, runId: string): Promise<RunKey | null> {
  const [row] = await tx.query<RunKey>(FIND_LOST, [tenantId, runId])
  return row ?? null
}
