import {
  type BrokenLimit,
  type BudgetLimit,
  isMeterMetric,
  periodEnd,
  shownAmount,
} from '../../domains/budgets/budgets.ts'
import {
  type ActivePolicy,
  heldWhileRunning,
  isLimit,
  versionNow,
  versionsOf,
} from '../../domains/policies/policies.ts'
import type { PoliciesSeen } from './check-facts-store.ts'
import { askedBy, type JudgedViolation } from './policy-check.ts'

/**
 * Pure. The limits that the ledger keeps, of each policy the version that holds for the run. One that pauses the run
 * before its next step is among them too, so that others see what the run's steps under way may use.
 */
function budgetLimits({ atStart, now }: PoliciesSeen): BudgetLimit[] {
  return [...versionsOf(atStart, now).values()].flatMap((versions) => {
    const { holds, changed } = heldWhileRunning(versions)
    const [policyVersion, previousVersion] = [versionNow(versions), versions.before?.version ?? null]
    const limitsOf = (policy: ActivePolicy | null, pending: boolean) => {
      if (!policy || !isLimit(policy) || !isMeterMetric(policy.metric)) return []
      return [{ ...policy, policyVersion, previousVersion, pending }]
    }
    return [...limitsOf(holds, false), ...limitsOf(changed ? versions.now : null, true)]
  })
}

/** The same list for runs that see the same policies, none of which has changed since they started: nearly all. */
export function rememberedLimits(): (seen: PoliciesSeen) => readonly BudgetLimit[] {
  const known = new WeakMap<readonly ActivePolicy[], readonly BudgetLimit[]>()
  return (seen) => {
    if (seen.now !== seen.atStart) return budgetLimits(seen)
    const limits = known.get(seen.now) ?? budgetLimits(seen)
    known.set(seen.now, limits)
    return limits
  }
}

/** Pure. A broken limit as a violation, with what its policy asks for. */
export function judgedLimit({ limit, meter, used, message }: BrokenLimit, at: Date): JudgedViolation {
  const isRate = meter.metric === 'requests_per_minute'
  const violation = {
    type: isRate ? ('RATE_LIMIT_HIT' as const) : ('BUDGET_EXCEEDED' as const),
    message: `policy ${limit.name}: ${message}`,
    currentValue: shownAmount(meter.metric, used),
    limit: limit.max,
    policyId: limit.name,
    policyVersion: limit.policyVersion,
    previousVersion: limit.previousVersion,
    at,
  }
  return { violation, ...askedBy(limit.effect, isRate), byPolicy: true }
}

/** Pure. When the rates among the broken limits have room again; null where none is a rate. */
export function roomAgainAt(broken: readonly BrokenLimit[]): Date | null {
  const ends = broken
    .filter(({ meter }) => meter.metric === 'requests_per_minute')
    .map(({ meter }) => periodEnd(meter.period, meter.periodStart)?.getTime() ?? 0)
  return ends.length === 0 ? null : new Date(Math.max(...ends))
}
