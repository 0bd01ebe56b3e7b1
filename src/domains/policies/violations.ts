import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'

/** What a check says of the next step. `SKIP`: it was not checked now. */
export const PolicyDecision = Object.freeze({
  CONTINUE: 'CONTINUE',
  PAUSE: 'PAUSE',
  TERMINATE: 'TERMINATE',
  SKIP: 'SKIP',
})
export type PolicyDecision = (typeof PolicyDecision)[keyof typeof PolicyDecision]

export const PolicyViolationType = Object.freeze({
  BUDGET_EXCEEDED: 'BUDGET_EXCEEDED',
  LIMIT_CHANGED: 'LIMIT_CHANGED',
  POLICY_DISABLED: 'POLICY_DISABLED',
  TENANT_SUSPENDED: 'TENANT_SUSPENDED',
  RATE_LIMIT_HIT: 'RATE_LIMIT_HIT',
  MANUAL_STOP: 'MANUAL_STOP',
})
export type PolicyViolationType = (typeof PolicyViolationType)[keyof typeof PolicyViolationType]

/** What stands against the next step. `policyId` is the policy's name, null where no policy is broken. */
export interface PolicyViolation {
  readonly type: PolicyViolationType
  readonly message: string
  readonly currentValue: number | null
  readonly limit: number | null
  readonly policyId: string | null
  /** Now, one that disables the policy among them; null when it was removed. */
  readonly policyVersion: number | null
  /** In force when the run started, or was resumed last; null when it was not there. */
  readonly previousVersion: number | null
  readonly at: Date
}

/** A violation as it is kept with its run: once, however often the run meets it. */
export interface MetViolation extends Omit<PolicyViolation, 'at'> {
  /** What was asked for; under `OBSERVE_ONLY` it was not done. `CONTINUE`: it was only warned of. */
  readonly decision: PolicyDecision
  /** When the run met it first, RFC 3339. */
  readonly at: string
}

/** Says which violations are the same one: type, policy and the versions that it is about. */
export function violationKey({
  type,
  policyId,
  previousVersion,
  policyVersion,
}: Pick<PolicyViolation, 'type' | 'policyId' | 'previousVersion' | 'policyVersion'>): string {
  return [type, policyId ?? '', previousVersion ?? '', policyVersion ?? ''].join(' ')
}

export interface ViolationOfRun {
  readonly tenantId: string
  readonly runId: string
  readonly violation: MetViolation
}

const VIOLATIONS = rowSet<ViolationOfRun>({
  tenant_id: ['text', ({ tenantId }) => tenantId],
  run_id: ['uuid', ({ runId }) => runId],
  violation_key: ['text', ({ violation }) => violationKey(violation)],
  violation: ['jsonb', ({ violation }) => JSON.stringify(violation)],
  met_at: ['timestamptz', ({ violation }) => new Date(violation.at)],
})

const INSERT = statement(
  'policy_violations_insert',
  `insert into concordat.policy_violations (${VIOLATIONS.names})
   select * from ${VIOLATIONS.from(1)} as x on conflict (tenant_id, run_id, violation_key) do nothing`,
)

/** Keeps violations with their runs before anybody acts on them; what a run has met before stays as it was. */
export async function keepViolations(tx: Tx, met: readonly ViolationOfRun[]): Promise<void> {
  const inOrder = met.toSorted((a, b) => (a.runId < b.runId ? -1 : a.runId > b.runId ? 1 : 0))
  await tx.query(INSERT, VIOLATIONS.values(inOrder))
}

/** What one run has met so far, the first met first. */
export async function violationsOfRun(
  tx: Tx,
  { tenantId, runId }: Pick<ViolationOfRun, 'tenantId' | 'runId'>,
): Promise<MetViolation[]> {
  const rows = await tx.query<{ violation: MetViolation }>(
    `select violation from concordat.policy_violations
      where tenant_id = $1 and run_id = $2 order by met_at, violation_key`,
    [tenantId, runId],
  )
  return rows.map(({ violation }) => violation)
}

/** An SQL expression that gives the `MetViolation[]` of a run, the first met first; for statements that read runs. */
export function violationsSql(run: string): string {
  return `coalesce((select jsonb_agg(v.violation order by v.met_at, v.violation_key) from concordat.policy_violations v
                     where v.tenant_id = ${run}.tenant_id and v.run_id = ${run}.run_id), '[]')`
}
