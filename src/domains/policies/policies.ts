import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { LintedFile, lintPolicies as lintText } from './policy-file.ts'
import type { EvaluationOutcome, PolicyFinding, Verdict } from './policy-rules.ts'
import type { MetViolation } from './violations.ts'

export { parsePolicies } from './check-policies.ts'
export type { RunFacts, StepFacts } from './expression-facts.ts'
export { Expressions } from './expressions.ts'
export { brokenText, endedTooSoon, judgeEnd, standsUnder } from './judge-end.ts'
export { type Lesson, lessonsOf, writeLessons } from './lessons.ts'
export { inForce, PolicyBook, type PolicySet } from './policy-book.ts'
export { type PolicyChange, planChanges, type StoredPolicy } from './policy-changes.ts'
export { isLimit, type PolicyDefinition, type PolicyEffect, type PolicyInput } from './policy-document.ts'
export type { LintedFile, LintFinding } from './policy-file.ts'
export {
  type ActivePolicy,
  evaluate,
  notAtEnd,
  type PolicyFinding,
  type Verdict,
  type WindowUses,
} from './policy-rules.ts'
export { applyPolicies, listPolicies, policyVersions } from './policy-store.ts'
export {
  heldAtEnd,
  heldWhileRunning,
  isEnabled,
  type PolicyVersions,
  versionNow,
  versionsOf,
} from './policy-versions.ts'
export { brokenBy, isConditionOnStep, type NextStep, nextStep } from './step-rules.ts'
export {
  keepViolations,
  type MetViolation,
  PolicyDecision,
  type PolicyViolation,
  PolicyViolationType,
  type ViolationOfRun,
  violationKey,
  violationsOfRun,
  violationsSql,
} from './violations.ts'

/** Reads and checks a policy file, see `lintPolicies` in policy-file.ts. YAML is loaded here: only files are written in it. */
export async function lintPolicies(...file: Parameters<typeof lintText>): Promise<LintedFile> {
  return (await import('./policy-file.ts')).lintPolicies(...file)
}

/** A verdict as it is stored: one a run. */
export interface PolicyEvaluation {
  readonly tenantId: string
  readonly runId: string
  readonly evaluationId: string
  readonly verdict: Verdict
  /** What the run met on its way and what it breaks at its end. */
  readonly violations: readonly MetViolation[]
  readonly evaluatedAt: Date
}

const EVALUATIONS = rowSet<PolicyEvaluation>({
  tenant_id: ['text', (evaluation) => evaluation.tenantId],
  run_id: ['uuid', (evaluation) => evaluation.runId],
  evaluation_id: ['uuid', (evaluation) => evaluation.evaluationId],
  outcome: ['text', ({ verdict }) => verdict.outcome],
  policies: ['jsonb', ({ verdict }) => JSON.stringify(verdict.findings)],
  violations: ['jsonb', ({ violations }) => JSON.stringify(violations)],
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
  violations: MetViolation[]
  evaluated_at: Date
}

export async function evaluationOfRun(
  tx: Tx,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<PolicyEvaluation | null> {
  const [row] = await tx.query<EvaluationRow>(
    `select evaluation_id, outcome, policies, violations, evaluated_at from concordat.policy_evaluations
      where tenant_id = $1 and run_id = $2`,
    [tenantId, runId],
  )
  if (!row) return null
  const verdict = { outcome: row.outcome, findings: row.policies }
  const { evaluation_id: evaluationId, violations, evaluated_at: evaluatedAt } = row
  return { tenantId, runId, evaluationId, verdict, violations, evaluatedAt }
}

/** What simulations ask of a stored evaluation. */
export type StoredVerdict = Pick<PolicyEvaluation, 'violations'> & Pick<Verdict, 'outcome'>

/** The stored verdicts of those of the runs that have one. */
export async function verdictsOfRuns(
  tx: Tx,
  tenantId: string,
  runIds: readonly string[],
): Promise<Map<string, StoredVerdict>> {
  const rows = await tx.query<StoredVerdict & { readonly runId: string }>(
    `select run_id as "runId", outcome, violations from concordat.policy_evaluations
      where tenant_id = $1 and run_id = any($2::uuid[])`,
    [tenantId, runIds],
  )
  return new Map(rows.map(({ runId, ...verdict }) => [runId, verdict]))
}
