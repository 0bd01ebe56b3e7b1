import type { PauseReason } from '../../domains/pauses/pauses.ts'
import { PolicyDecision, type PolicyViolation, type StepFacts } from '../../domains/policies/policies.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import { type CheckFacts, type JudgedViolation, violationsBefore, worstOf } from './policy-check.ts'

/** What a check before a step came to. */
export class PolicyCheckResult {
  readonly decision: PolicyDecision
  readonly reason: string
  /** All of them, those that are only warned of included. */
  readonly violations: readonly PolicyViolation[]
  /** The same, each with what it asks for. */
  readonly judged: readonly JudgedViolation[]
  /** The one that decided; null when none did. */
  readonly worst: JudgedViolation | null
  /** Set when the decision is `PAUSE`. */
  readonly pauseReason: PauseReason | null
  readonly durationMs: number

  constructor(result: Omit<PolicyCheckResult, 'shouldContinue' | 'violations'>) {
    this.decision = result.decision
    this.reason = result.reason
    this.judged = result.judged
    this.worst = result.worst
    this.violations = result.judged.map(({ violation }) => violation)
    this.pauseReason = result.pauseReason
    this.durationMs = result.durationMs
  }

  get shouldContinue(): boolean {
    return this.decision === PolicyDecision.CONTINUE || this.decision === PolicyDecision.SKIP
  }
}

export interface PolicyCheckerOptions {
  /** MID_EXECUTION_POLICY_CHECK_ENABLED. Off: every check is skipped, nothing is read. */
  readonly enabled: boolean
  /** POLICY_CHECK_INTERVAL_SECONDS, in milliseconds. */
  readonly intervalMs: number
  /** POLICY_CHECK_MIN_STEPS. */
  readonly minSteps: number
  /** POLICY_CHECK_ON_ERROR: what follows when the check itself fails. */
  readonly onError: 'continue' | 'pause'
  /** OBSERVE_ONLY: what policies decide is told and not acted upon; what people decide is. */
  readonly muted: boolean
  /** Reads all that a check looks at, in one query. */
  readonly readFacts: () => Promise<CheckFacts>
  readonly clock: Pick<Clock, 'now'>
  readonly log: Logger
  readonly metrics: Metrics
}

/**
 * Looks at the policies of one run before its steps: before the first one, and then when both the interval and the
 * fewest steps have passed, or a policy has changed. The worst decision wins. Never throws.
 */
export class MidExecutionPolicyChecker {
  readonly #options: PolicyCheckerOptions
  #lastCheckMs = Number.NEGATIVE_INFINITY
  /** Steps since the last check; the first check waits for none. */
  #steps = Number.POSITIVE_INFINITY

  constructor(options: PolicyCheckerOptions) {
    this.#options = options
  }

  /** The next step is checked, whatever the throttle says, as after a change of a policy. */
  checkNext(): void {
    this.#lastCheckMs = Number.NEGATIVE_INFINITY
    this.#steps = Number.POSITIVE_INFINITY
  }

  /** Without a promise when nothing is looked at, so that a throttled check costs next to nothing. */
  checkBeforeStep(step: StepFacts): PolicyCheckResult | Promise<PolicyCheckResult> {
    const { enabled, intervalMs, minSteps, clock } = this.#options
    if (!enabled) return DISABLED
    const nowMs = clock.now().getTime()
    const due = this.#steps >= minSteps && nowMs - this.#lastCheckMs >= intervalMs
    this.#steps++
    if (!due) return THROTTLED
    this.#lastCheckMs = nowMs
    this.#steps = 1
    return this.#check(step)
  }

  async #check(step: StepFacts): Promise<PolicyCheckResult> {
    const { metrics } = this.#options
    const startedAt = performance.now()
    const judged = await this.#judge(step)
    const durationMs = performance.now() - startedAt
    metrics.histogram('concordat_policy_check_duration_seconds').observe({}, durationMs / 1_000)
    metrics.counter('concordat_policy_checks_total').inc({ decision: judged.decision })
    return new PolicyCheckResult({ ...judged, durationMs })
  }

  async #judge(step: StepFacts): Promise<Omit<PolicyCheckResult, 'shouldContinue' | 'violations' | 'durationMs'>> {
    const { readFacts, clock, muted, onError, log, metrics } = this.#options
    try {
      const judged = violationsBefore(step, await readFacts(), clock.now())
      const worst = worstOf(judged, muted)
      return {
        decision: worst?.decision ?? PolicyDecision.CONTINUE,
        reason: worst?.violation.message ?? (judged.length > 0 ? 'violations are only observed' : 'no violation'),
        judged,
        worst,
        pauseReason: worst?.pauseReason ?? null,
      }
    } catch (error) {
      log.error({ error, onError }, 'the policy check failed')
      metrics.counter('concordat_policy_check_errors_total').inc({})
      const decision = onError === 'pause' ? PolicyDecision.PAUSE : PolicyDecision.CONTINUE
      const pauseReason = onError === 'pause' ? 'POLICY_CHANGE' : null
      return { decision, reason: `the check failed: ${(error as Error).message}`, judged: [], worst: null, pauseReason }
    }
  }
}

function skipped(reason: string): PolicyCheckResult {
  const nothing = { judged: [], worst: null, pauseReason: null, durationMs: 0 }
  return Object.freeze(new PolicyCheckResult({ decision: PolicyDecision.SKIP, reason, ...nothing }))
}

const DISABLED = skipped('policies are not checked during runs')
const THROTTLED = skipped('checked a moment ago')
