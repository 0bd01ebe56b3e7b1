import { isLimit } from './policy-document.ts'
import type { ActivePolicy, EvaluationOutcome, PolicyFinding, Verdict } from './policy-rules.ts'
import { type PolicyVersions, versionNow } from './policy-versions.ts'
import { type MetViolation, violationKey } from './violations.ts'

/** What a verdict takes into account beside the policies themselves. */
export interface EndFacts {
  /** True when the run ends as `failed_policy` whatever the policies say of it now. */
  readonly refused: boolean
  /** What stood against its steps on the way. */
  readonly met: readonly MetViolation[]
  /** Policies that changed since the run started; the others are as they were. */
  readonly changed: ReadonlyMap<string, PolicyVersions>
  /** OBSERVE_ONLY: what is broken is told and not acted upon. */
  readonly muted: boolean
  readonly at: Date
}

export interface JudgedEnd {
  readonly verdict: Verdict
  /** What was met on the way and what is broken at the end, each once. */
  readonly violations: readonly MetViolation[]
}

/**
 * Pure. The verdict on a run with what it met on the way. `VIOLATION`: it breaks a policy now, or a policy ended it.
 * What it met and a person or a profile let pass, or that was only warned of, leaves it `ADVISORY`.
 */
export function judgeEnd(verdict: Verdict, facts: EndFacts): JudgedEnd {
  const { met, changed, at } = facts
  const known = new Set(met.map(violationKey))
  const broken = verdict.findings.filter((finding) => finding.met === false)
  const atEnd = broken.map((finding) => violationOf(finding, changed.get(finding.name), at))
  return {
    verdict: { ...verdict, outcome: outcomeOf(verdict, broken, facts) },
    violations: [...met, ...atEnd.filter((violation) => !known.has(violationKey(violation)))],
  }
}

/**
 * Pure. What should have ended the run by a policy that still stands: its last step used more than it had declared, and no
 * step came after it. Nobody can let that pass.
 */
export function endedTooSoon(
  { findings }: Pick<Verdict, 'findings'>,
  { met, muted }: Pick<EndFacts, 'met' | 'muted'>,
): MetViolation[] {
  const stands = ({ policyId, policyVersion }: MetViolation) =>
    findings.some(({ name, version, effect }) => {
      return name === policyId && version === policyVersion && effect === 'terminate'
    })
  return muted ? [] : met.filter((each) => each.decision === 'TERMINATE' && stands(each))
}

function outcomeOf(verdict: Verdict, broken: readonly PolicyFinding[], facts: EndFacts): EvaluationOutcome {
  const { refused, met, muted } = facts
  const approved = new Set(met.filter(({ decision }) => decision === 'PAUSE').map(({ policyId }) => policyId))
  const counts = ({ name, effect }: PolicyFinding) => {
    return effect !== 'warn' && !muted && !(effect === 'require_approval' && approved.has(name))
  }
  const ended = refused && met.some(({ decision }) => decision !== 'CONTINUE')
  if (broken.some(counts) || ended || endedTooSoon(verdict, facts).length > 0) return 'VIOLATION'
  return broken.length > 0 || met.length > 0 ? 'ADVISORY' : verdict.outcome
}

const DECISIONS = { terminate: 'TERMINATE', pause: 'PAUSE', require_approval: 'PAUSE', warn: 'CONTINUE' } as const

function violationOf(finding: PolicyFinding, changed: PolicyVersions | undefined, at: Date): MetViolation {
  const { name, version, effect } = finding
  const isLimit = 'limit' in finding
  return {
    type: 'BUDGET_EXCEEDED',
    message: `policy ${name}: ${brokenText(finding)}`,
    currentValue: isLimit ? finding.value : null,
    limit: isLimit ? finding.limit : null,
    policyId: name,
    policyVersion: changed ? versionNow(changed) : version,
    previousVersion: changed ? (changed.before?.version ?? null) : version,
    decision: DECISIONS[effect],
    at: at.toISOString(),
  }
}

/** How a policy is broken, on one line: `steps 6 over 5`, or its condition. */
export function brokenText(finding: PolicyFinding): string {
  const broken = 'when' in finding ? finding.when : `${finding.metric} ${finding.value} over ${finding.limit}`
  return finding.note === undefined ? broken : `${broken} (${finding.note})`
}

/**
 * Pure. Whether a violation that a run met stands under other policies, as far as that can be told: a limit that is no
 * higher, a condition that is the same. What was not about a policy's own rule stands.
 */
export function standsUnder({ type, policyId, limit, policyVersion }: MetViolation, policies: readonly ActivePolicy[]) {
  if (type !== 'BUDGET_EXCEEDED' && type !== 'RATE_LIMIT_HIT') return true
  const policy = policies.find(({ name, enabled }) => enabled && name === policyId)
  if (!policy) return false
  return isLimit(policy) ? limit !== null && policy.max <= limit : policy.version === policyVersion
}
