import {
  type ActivePolicy,
  brokenBy,
  heldWhileRunning,
  isConditionOnStep,
  nextStep,
  type RunFacts,
  type StepFacts,
  versionsOf,
} from '../../domains/policies/policies.ts'
import type { PoliciesSeen } from './check-facts-store.ts'

/** Of each policy the version that holds for the run, if that is a condition which asks about the next step. */
function conditionsOnStep({ atStart, now }: PoliciesSeen): ActivePolicy[] {
  return [...versionsOf(atStart, now).values()].flatMap((versions) => {
    const { holds } = heldWhileRunning(versions)
    return holds && isConditionOnStep(holds) ? [holds] : []
  })
}

/** The same list for runs that see the same policies, none of which has changed since they started: nearly all. */
export function rememberedConditions(): (seen: PoliciesSeen) => readonly ActivePolicy[] {
  const known = new WeakMap<readonly ActivePolicy[], readonly ActivePolicy[]>()
  return (seen) => {
    if (seen.now !== seen.atStart) return conditionsOnStep(seen)
    const conditions = known.get(seen.now) ?? conditionsOnStep(seen)
    known.set(seen.now, conditions)
    return conditions
  }
}

/**
 * Pure. Whether the condition stands against the step, as far as its worker knows the run: then it must be checked,
 * whatever the throttle says, for no other moment can tell. `run` null: only the database knows what it has used.
 */
export function isStoodAgainst(
  policy: ActivePolicy,
  step: StepFacts,
  agent: string,
  run: () => RunFacts | null,
): boolean {
  if ((policy.agent !== null && policy.agent !== agent) || !isConditionOnStep(policy, step)) return false
  const facts = run()
  return facts === null || brokenBy(policy, nextStep(facts, step), null) !== null
}
