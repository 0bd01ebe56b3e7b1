import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { EvaluationOutcome, PolicyFinding, Verdict } from './policy-rules.ts'

export { parsePolicies } from './check-policies.ts'
export type { RunFacts, StepFacts } from './expression-facts.ts'
export { Expressions } from './expressions.ts'
export { type Lesson, lessonsOf, writeLessons } from './lessons.ts'
export { inForce, PolicyBook, type PolicySet } from './policy-book.ts'
export { type PolicyChange, planChanges, type StoredPolicy } from './policy-changes.ts'
export { isLimit, type PolicyDefinition, type PolicyEffect, type PolicyInput } from './policy-document.ts'
export { type LintedFile, type LintFinding, lintPolicies } from './policy-file.ts'
export { type ActivePolicy, evaluate, notAtEnd, type PolicyFinding, type Verdict } from './policy-rules.ts'
export { applyPolicies, listPolicies, policyVersions } from './policy-store.ts'
export { brokenBy } from './step-rules.ts'

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
  violations: ['jsonb', ({ verdict }) => JSON.stringify(verdict.findings.filter(({ met }) => met === false))],
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

/** The stored outcomes of those of the runs that have one. */
export async function outcomesOfRuns(
  tx: Tx,
  tenantId: string,
  runIds: readonly string[],
): Promise<Map<string, EvaluationOutcome>> {
  const rows = await tx.query<{ runId: string; outcome: EvaluationOutcome }>(
    `select run_id as "runId", outcome from concordat.policy_evaluations
      where tenant_id = $1 and run_id = any($2::uuid[])`,
    [tenantId, runIds],
  )
  return new Map(rows.map(({ runId, outcome }) => [runId, outcome]))
}
