import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

interface RunKeys {
  readonly tenantId: string
  readonly runId: string
}

const TAKE = statement(
  'audit_looks_take',
  `delete from concordat.audit_looks where ctid = any (array(
     select ctid from concordat.audit_looks where due_at <= clock_timestamp()
      order by due_at limit $1 for update skip locked))
   returning tenant_id as "tenantId", run_id as "runId"`,
)

/**
 * Takes runs that are to be held against their contracts though their own rows do not say so: somebody has deleted a
 * record of them, or the row itself. Those that others have are skipped.
 */
export async function takeLooks(tx: Tx, max: number): Promise<RunKeys[]> {
  return tx.query<RunKeys>(TAKE, [max])
}

/* As long again as it has been wrong. */
const DEFER = statement(
  'audit_looks_defer',
  `update concordat.audit_looks
      set due_at = clock_timestamp() + least(interval '${limits.reconcileRetryMsMax} ms',
            greatest(interval '${limits.reconcileRetryMsMin} ms', clock_timestamp() - asked_at))
    where tenant_id = $1 and run_id = $2`,
)

/** Puts off a look that failed: 5 s at first, later up to 5 min. */
export async function deferLook(tx: Tx, { tenantId, runId }: RunKeys): Promise<void> {
  await tx.query(DEFER, [tenantId, runId])
}
