import { type Incident, IncidentFacade } from '../../domains/incidents/incidents.ts'
import {
  brokenText,
  endedTooSoon,
  evaluate,
  judgeEnd,
  type Lesson,
  lessonsOf,
  type MetViolation,
  type PolicyEvaluation,
  type RunFacts,
  type WindowUses,
  writeEvaluations,
  writeLessons,
} from '../../domains/policies/policies.ts'
import type { RunEnd, RunOutcome } from '../../domains/runs/runs.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { HeldRun } from '../kernel/kernel.ts'
import type { PoliciesAtEnd } from './policies-at-end.ts'

/** What governance says of a run's end: its verdict, the status that follows, its incident, and what can be learned. */
export interface GovernanceRecords {
  readonly status: RunOutcome
  readonly reason: string
  readonly message: string
  readonly incident: Incident
  readonly evaluation: PolicyEvaluation
  readonly lessons: readonly Lesson[]
}

export interface GovernanceInputs {
  readonly policies: PoliciesAtEnd
  /** What its steps saw of limits that add up a period; left out where nobody knows. */
  readonly windowUses?: WindowUses | undefined
  /** OBSERVE_ONLY: what policies say is told and not acted upon. */
  readonly muted: boolean
  readonly at: Date
  readonly newId: IdSource
}

/** The execution's one way to the incidents and policies of a run that ends. Decides pure, writes many at once. */
export const GovernanceFacade = Object.freeze({
  /** Pure. A run that would have succeeded but is over a limit ends as `failed_policy`. */
  decide(run: HeldRun, end: RunEnd, { policies, windowUses, muted, at, newId }: GovernanceInputs): GovernanceRecords {
    const { tenantId, runId, agent, totals } = run
    const { verdict, violations } = judgeEnd(evaluate(factsAtEnd(run, at), policies.policies, windowUses), {
      refused: end.outcome === 'failed_policy',
      met: run.violations,
      changed: policies.changed,
      muted,
      at,
    })
    const { status, reason, message } = statusAfter(end, verdict, endedTooSoon(verdict, { met: run.violations, muted }))
    const ending = {
      tenantId,
      runId,
      status,
      reason,
      message,
      traceGaps: totals.traceGaps,
      failedSteps: totals.failedSteps,
    }
    return {
      status,
      reason,
      message,
      incident: IncidentFacade.decide(ending, { incidentId: newId(), at }),
      evaluation: { tenantId, runId, evaluationId: newId(), verdict, violations, evaluatedAt: at },
      lessons: lessonsOf({ tenantId, runId, agent, succeeded: status === 'succeeded', verdict, at }),
    }
  },

  writeIncidents(tx: Tx, records: readonly GovernanceRecords[]): Promise<void> {
    return IncidentFacade.write(
      tx,
      records.map((record) => record.incident),
    )
  },

  /** Evaluations and the lessons drawn from them. */
  async writeEvaluations(tx: Tx, records: readonly GovernanceRecords[]): Promise<void> {
    const evaluations = records.map((record) => record.evaluation)
    const lessons = records.flatMap((record) => record.lessons)
    await Promise.all([writeEvaluations(tx, evaluations), writeLessons(tx, lessons)])
  },
})

function factsAtEnd({ tenantId, agent, totals, executionStartedAt }: HeldRun, at: Date): RunFacts {
  const wallClockMs = executionStartedAt === null ? null : Math.max(0, at.getTime() - executionStartedAt.getTime())
  return { tenantId, agent, ...totals, wallClockMs }
}

function statusAfter(
  end: RunEnd,
  { outcome, findings }: PolicyEvaluation['verdict'],
  met: readonly Pick<MetViolation, 'message'>[],
) {
  if (end.outcome !== 'succeeded' || outcome !== 'VIOLATION') {
    return { status: end.outcome, reason: end.reason, message: end.message }
  }
  const hit = findings.filter(({ met, effect }) => met === false && effect !== 'warn')
  const message = [
    ...hit.map((finding) => `${finding.name}: ${brokenText(finding)}`),
    ...met.map((each) => each.message),
  ]
    .join('; ')
    .slice(0, limits.errorMessageCharsMax)
  return { status: 'failed_policy' as const, reason: 'POLICY_VIOLATION', message }
}
