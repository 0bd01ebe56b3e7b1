import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { EvaluationOutcome, PolicyFinding, Verdict } from './policy-rules.ts'

export { type Lesson, lessonsOf, writeLessons } from './lessons.ts'
export { PolicyBook, type PolicySet } from './policy-book.ts'
export { evaluate, type LimitPolicy, type PolicyFinding, type Usage, type Verdict } from './policy-rules.ts'

/** A verdict as it is stored: one a run. */
export interface PolicyEvaluation {
  readonly tenantId: string
  readonly runId: string
  readonly evaluationId: string
  readonly verdict: Verdict
  readonly evaluatedAt: Date
}

const EVALUATIONS = rowSet<PolicyEvaluation>({
  tenant_id: ['text', (evaluation) => evaluation.tenantId],
  run_id: ['uuid', (evaluation) => evaluation.runId],
  evaluation_id: ['uuid', (evaluation) => evaluation.evaluationId],
  outcome: ['text', ({ verdict }) => verdict.outcome],
  policies: ['jsonb', ({ verdict }) => JSON.stringify(verdict.findings)],
  violations: ['jsonb', ({ verdict }) => JSON.stringify(verdict.findings.filter((finding) => !finding.met))],
  evaluated_at: ['timestamptz', (evaluation) => evaluation.evaluatedAt],
})

const INSERT_EVALUATIONS = statement(
  'policy_evaluations_insert',
  `insert into concordat.policy_evaluations (${EVALUATIONS.names}) select * from ${EVALUATIONS.from(1)} as x`,
)

export async function writeEvaluations(tx: Tx, evaluations: readonly PolicyEvaluation[]): Promise<void> {
  await tx.query(INSERT_EVALUATIONS, EVALUATIONS.values(evaluations))
}

interface EvaluationRow {
  evaluation_id: string
  outcome: EvaluationOutcome
  policies: PolicyFinding[]
  evaluated_at: Date
}

export async function evaluationOfRun(
  tx: Tx,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<PolicyEvaluation | null> {
  const [row] = await tx.query<EvaluationRow>(
    'select evaluation_id, outcome, policies, evaluated_at from concordat.policy_evaluations where tenant_id = $1 and run_id = $2',
    [tenantId, runId],
  )
  if (!row) return null
  const verdict = { outcome: row.outcome, findings: row.policies }
  return { tenantId, runId, evaluationId: row.evaluation_id, verdict, evaluatedAt: row.evaluated_at }
}

const policyInput = z.strictObject({
  name: z.string().min(1).max(200),
  agent: z.string().min(1).max(200).nullable().default(null),
  metric: z.enum(['cost_usd', 'tokens', 'steps']),
  max: z.number().nonnegative().max(Number.MAX_SAFE_INTEGER),
  effect: z.enum(['terminate', 'warn']).default('terminate'),
})
export type PolicyInput = z.input<typeof policyInput>

const APPLY = statement(
  'policies_apply',
  `with retired as (
     update concordat.policies set active = false where tenant_id = $1 and name = $2 and active returning version
   )
   insert into concordat.policies (tenant_id, name, version, active, agent, metric, max_value, effect)
   select $1, $2, coalesce((select max(version) from concordat.policies where tenant_id = $1 and name = $2), 0) + 1,
          true, $3, $4, $5, $6
   where (select count(*) from retired) >= 0
   returning version`,
)

/**
 * Puts a limit in force as the next version of its name; the version before is kept, inactive.
 * Fails with `INVALID_REQUEST` and leaves the active version untouched.
 *
 * @example await applyPolicy(database, 'default', { name: 'max-cost', metric: 'cost_usd', max: 0.5 })
 */
export async function applyPolicy(database: Tx, tenantId: string, input: PolicyInput): Promise<{ version: number }> {
  const parsed = policyInput.safeParse(input)
  if (!parsed.success)
    throw new AppError('INVALID_REQUEST', `the policy is not valid: ${z.prettifyError(parsed.error)}`)
  const { name, agent, metric, max, effect } = parsed.data
  const [row] = await database.query<{ version: number }>(APPLY, [tenantId, name, agent, metric, max, effect])
  return { version: row?.version ?? 1 }
}
