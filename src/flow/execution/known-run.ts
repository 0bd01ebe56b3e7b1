import { ACTIONS } from '../../domains/audit/audit.ts'
import type { MetViolation } from '../../domains/policies/policies.ts'
import type { RunTotals } from '../../domains/runs/runs.ts'
import type { Claim, KnownRun } from '../kernel/kernel.ts'

const { domain, action } = ACTIONS.startTrace

/** What the only worker that ever executed a run knows of it. Null when that is not all. */
export function knownRun(claim: Claim, totals: RunTotals | null, violations: readonly MetViolation[]): KnownRun | null {
  if (totals === null) return null
  const {
    tenantId,
    runId,
    workerId,
    agent,
    phase,
    contractId,
    expectations,
    policiesVersion,
    traceGap,
    executionStartedAt,
  } = claim
  const traceStarted = traceGap === null
  const acked = traceStarted ? [`${domain}/${action}`] : []
  const run = {
    tenantId,
    runId,
    agent,
    phase,
    stop: null,
    contractId,
    expectations,
    acked,
    traceStarted,
    executionStartedAt,
    violations,
    totals,
    parentRunId: claim.parentRunId,
    hasOpenChildren: false, // else its totals were not known
  }
  return { run, workerId, policiesVersion }
}
