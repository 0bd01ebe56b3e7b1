import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Finding, Reconciliation, ReconciliationResult } from './reconcile.ts'

export interface StoredReconciliation {
  readonly result: ReconciliationResult
  readonly findings: readonly Finding[]
  readonly reconciledAt: Date
}

export interface RunReconciliation extends Reconciliation {
  readonly tenantId: string
  readonly runId: string
  readonly at: Date
}

const RECONCILIATIONS = rowSet<RunReconciliation>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
  result: ['text', (run) => run.result],
  findings: ['jsonb', (run) => JSON.stringify(run.findings)],
  reconciled_at: ['timestamptz', (run) => run.at],
})

const UPSERT = statement(
  'reconciliations_upsert',
  `insert into concordat.reconciliations as r (${RECONCILIATIONS.names})
   select * from ${RECONCILIATIONS.from(1)} as x
   on conflict (tenant_id, run_id) do update
     set result = excluded.result, findings = excluded.findings, reconciled_at = excluded.reconciled_at
     where (r.result, r.findings) is distinct from (excluded.result, excluded.findings)
   returning run_id`,
)

/** Stores the newest reconciliation of each run. Returns the runs whose result is new or has changed. */
export async function writeReconciliations(tx: Tx, runs: readonly RunReconciliation[]): Promise<Set<string>> {
  const rows = await tx.query<{ run_id: string }>(UPSERT, RECONCILIATIONS.values(runs))
  return new Set(rows.map((row) => row.run_id))
}

export async function reconciliationOf(tx: Tx, tenantId: string, runId: string): Promise<StoredReconciliation | null> {
  const [row] = await tx.query<StoredReconciliation>(
    `select result, findings, reconciled_at as "reconciledAt"
       from concordat.reconciliations where tenant_id = $1 and run_id = $2`,
    [tenantId, runId],
  )
  return row ?? null
}
