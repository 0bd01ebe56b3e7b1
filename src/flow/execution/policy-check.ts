import type { PauseReason } from '../../domains/pauses/pauses.ts'
import {
  type ActivePolicy,
  brokenBy,
  heldWhileRunning,
  isEnabled,
  isLimit,
  type NextStep,
  nextStep,
  type PolicyDecision,
  type PolicyEffect,
  type PolicyVersions,
  type PolicyViolation,
  type PolicyViolationType,
  type RunFacts,
  type StepFacts,
  versionNow,
  versionsOf,
} from '../../domains/policies/policies.ts'

/** A violation with what it asks for. */
export interface JudgedViolation {
  readonly violation: PolicyViolation
  readonly decision: PolicyDecision
  /** Set when the decision is `PAUSE`. */
  readonly pauseReason: PauseReason | null
  /** False for what people have decided: no profile mutes it. */
  readonly byPolicy: boolean
}

/** What one check looks at, read in one query. */
export interface CheckFacts {
  readonly run: RunFacts
  readonly stop: { readonly by: string; readonly why: string } | null
  readonly tenantSuspended: boolean
  /** In force now, and those that are disabled. */
  readonly policies: readonly ActivePolicy[]
  /** In force when the run started to execute, or was resumed last. */
  readonly atStart: readonly ActivePolicy[]
  /**
   * What was used in the scope and window of limits that add up more than the run, by the policy's name; null: the ledger
   * holds steps against these, and only their changes are looked at.
   */
  readonly windowUse: ReadonlyMap<string, number> | null
}

/** Pure. Everything that stands against the next step, in no particular order. */
export function violationsBefore(step: StepFacts, facts: CheckFacts, at: Date): JudgedViolation[] {
  const judged: JudgedViolation[] = []
  const { stop, run } = facts
  if (stop) judged.push(byPeople('MANUAL_STOP', `stopped by ${stop.by}: ${stop.why}`, at))
  if (facts.tenantSuspended) judged.push(byPeople('TENANT_SUSPENDED', `tenant ${run.tenantId} is suspended`, at))
  const inScope = ({ agent }: ActivePolicy) => agent === null || agent === run.agent
  const next = nextStep(run, step)
  const hold = (policy: ActivePolicy, versions: PolicyVersions) =>
    judged.push(...breaches(policy, versions, next, facts, at))
  const policies = facts.policies.filter(inScope)
  if (facts.atStart === facts.policies) {
    for (const policy of policies.filter(isEnabled)) hold(policy, { before: policy, now: policy })
    return judged
  }
  for (const [name, versions] of versionsOf(facts.atStart.filter(inScope), policies)) {
    const { holds, changed } = heldWhileRunning(versions)
    if (changed) judged.push(changeOf(name, versions, at))
    if (holds) hold(holds, versions)
  }
  return judged
}

function changeOf(name: string, versions: PolicyVersions, at: Date): JudgedViolation {
  const { before, now, disabledBy } = versions
  const gone = disabledBy === undefined ? 'was removed' : 'was disabled'
  const what = now === null ? gone : before === null ? 'is new' : 'has changed'
  return {
    violation: {
      type: now === null ? 'POLICY_DISABLED' : 'LIMIT_CHANGED',
      message: `policy ${name} ${what} since the run started`,
      currentValue: before && isLimit(before) ? before.max : null,
      limit: now && isLimit(now) ? now.max : null,
      policyId: name,
      policyVersion: versionNow(versions),
      previousVersion: before?.version ?? null,
      at,
    },
    decision: 'PAUSE',
    pauseReason: 'POLICY_CHANGE',
    byPolicy: true,
  }
}

/** One violation if the next step would break the policy, else none. */
function breaches(
  policy: ActivePolicy,
  versions: PolicyVersions,
  next: NextStep,
  { windowUse }: CheckFacts,
  at: Date,
): JudgedViolation[] {
  if (windowUse === null && isLimit(policy) && policy.window !== 'run') return []
  const broken = brokenBy(policy, next, windowUse?.get(policy.name) ?? null)
  if (!broken) return []
  const isRate = isLimit(policy) && policy.metric === 'requests_per_minute'
  const violation: PolicyViolation = {
    type: isRate ? 'RATE_LIMIT_HIT' : 'BUDGET_EXCEEDED',
    message: `policy ${policy.name}: ${broken.message}`,
    currentValue: broken.value,
    limit: isLimit(policy) ? policy.max : null,
    policyId: policy.name,
    policyVersion: versionNow(versions),
    previousVersion: versions.before?.version ?? null,
    at,
  }
  return [{ violation, ...askedBy(policy.effect, isRate), byPolicy: true }]
}

type Asked = Pick<JudgedViolation, 'decision' | 'pauseReason'>

/** Pure. What a broken policy asks for. A rate is waited for, whatever its effect, unless it only warns. */
export function askedBy(effect: PolicyEffect, isRate: boolean): Asked {
  return isRate && effect !== 'warn' ? RATE : EFFECTS[effect]
}

const RATE: Asked = { decision: 'PAUSE', pauseReason: 'RATE_LIMIT_SOFT' }
const EFFECTS: { readonly [Effect in PolicyEffect]: Asked } = {
  terminate: { decision: 'TERMINATE', pauseReason: null },
  pause: { decision: 'PAUSE', pauseReason: 'BUDGET_WARNING' },
  require_approval: { decision: 'PAUSE', pauseReason: 'APPROVAL_REQUIRED' },
  warn: { decision: 'CONTINUE', pauseReason: null },
}

function byPeople(type: PolicyViolationType, message: string, at: Date): JudgedViolation {
  const nothing = { currentValue: null, limit: null, policyId: null, policyVersion: null, previousVersion: null }
  return { violation: { type, message, ...nothing, at }, decision: 'TERMINATE', pauseReason: null, byPolicy: false }
}

/**
 * From the mildest to the worst. A change comes before an approval: what is asked then is asked under the policies that
 * the run goes on with.
 */
const SEVERITY: readonly string[] = [
  'CONTINUE',
  'PAUSE RATE_LIMIT_SOFT',
  'PAUSE BUDGET_WARNING',
  'PAUSE APPROVAL_REQUIRED',
  'PAUSE POLICY_CHANGE',
  'TERMINATE',
]

/** Pure. The worst of what is asked for; `CONTINUE` when nothing is. `muted` counts only what people have decided. */
export function worstOf(judged: readonly JudgedViolation[], muted: boolean): JudgedViolation | null {
  const counted = judged.filter(({ byPolicy }) => !muted || !byPolicy)
  const severity = ({ decision, pauseReason }: JudgedViolation) => {
    return SEVERITY.indexOf(pauseReason === null ? decision : `${decision} ${pauseReason}`)
  }
  return counted.toSorted((a, b) => severity(b) - severity(a))[0] ?? null
}
