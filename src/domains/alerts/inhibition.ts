import type { AuditAlertType } from './alert.ts'

/** While the first fires for a run, the others of the run are its consequence, and nobody is told of them. */
const INHIBITS = Object.freeze({
  STALE_RUN: ['MISSING_ACK', 'EXPECTATION_TIMEOUT'],
  RECONCILIATION_FAILED: ['EXPECTATION_TIMEOUT'],
}) satisfies Partial<Record<AuditAlertType, readonly AuditAlertType[]>>

/** SQL: whether an alert `a` is muted by another of its run. */
export const INHIBITED_SQL = Object.entries(INHIBITS)
  .map(([by, muted]) => {
    return `(a.type in (${muted.map((type) => `'${type}'`).join(', ')}) and exists (
       select from concordat.alerts b
        where b.tenant_id = a.tenant_id and b.run_id = a.run_id and b.type = '${by}' and b.state <> 'resolved'))`
  })
  .join(' or ')
