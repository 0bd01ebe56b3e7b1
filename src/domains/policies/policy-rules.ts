import { type ExpressionContext, type RunFacts, runContext } from './expression-facts.ts'
import type { Compiled, ExpressionAnswer } from './expressions.ts'
import {
  type ExpressionDefinition,
  isLimit,
  type LimitDefinition,
  type PolicyEffect,
  type PolicyMetric,
} from './policy-document.ts'

/** A limit in force. */
export type LimitPolicy = LimitDefinition & { readonly version: number }
/** A condition in force, compiled. */
export type ExpressionPolicy = ExpressionDefinition & { readonly version: number; readonly compiled: Compiled }
export type ActivePolicy = LimitPolicy | ExpressionPolicy

export type EvaluationOutcome = 'NOT_APPLICABLE' | 'NO_VIOLATION' | 'ADVISORY' | 'VIOLATION'

interface FindingBase {
  readonly name: string
  readonly version: number
  readonly effect: PolicyEffect
  /** Null: it was not evaluated, which is not the same as met; `note` says why. */
  readonly met: boolean | null
  readonly note?: string
}

/** A limit held against one run. `value` null: nothing was recorded to hold it against. */
export interface LimitFinding extends FindingBase {
  readonly metric: PolicyMetric
  readonly limit: number
  readonly value: number | null
}

/** A condition held against one run, cut to 200 characters: the version has all of it. */
export interface ExpressionFinding extends FindingBase {
  readonly when: string
}

export type PolicyFinding = LimitFinding | ExpressionFinding

export interface Verdict {
  readonly outcome: EvaluationOutcome
  readonly findings: readonly PolicyFinding[]
}

const NO_NEXT_STEP = 'not evaluated at the end of a run: it asks for the next step'

/** Why a policy can't be evaluated when a run ends; null when it can. */
export function notAtEnd(policy: ActivePolicy): string | null {
  if (!isLimit(policy)) {
    const asksForStep = policy.compiled.ok && policy.compiled.expression.usesStep
    return asksForStep ? NO_NEXT_STEP : null
  }
  if (policy.window === 'run') return null
  const { scope, window } = policy
  const whose = scope === 'run' ? 'a run' : `one ${scope.replace('_', ' ')}`
  return `not evaluated at the end of a run: it adds up what ${whose} uses in a ${window}`
}

/** What a run saw of a limit that adds up a period, when its last step was recorded. */
export interface WindowUse {
  readonly version: number
  /** In the unit of the policy's metric, whoever used it. */
  readonly value: number
  /** False when a step of this very run broke it. */
  readonly met: boolean
}

/** By the policy's name. */
export type WindowUses = ReadonlyMap<string, WindowUse>

const NONE_SEEN: WindowUses = new Map()

/**
 * Holds every policy in scope against what the run used. None that can be evaluated: `NOT_APPLICABLE`, which is not the
 * same as allowed; all met: `NO_VIOLATION`; only `warn` rules hit: `ADVISORY`; else `VIOLATION`. An expression that
 * fails counts as hit.
 */
export function evaluate(
  facts: RunFacts,
  policies: readonly ActivePolicy[],
  windowUses: WindowUses = NONE_SEEN,
): Verdict {
  const inScope = policies.filter(({ agent, enabled }) => enabled && (agent === null || agent === facts.agent))
  if (inScope.length === 0) return NOTHING_IN_SCOPE
  const context = inScope.every(isLimit) ? null : { run: runContext(facts) }
  const findings = inScope.map((policy) =>
    isLimit(policy) ? limitFinding(policy, facts, windowUses) : expressionFinding(policy, context as ExpressionContext),
  )
  return { outcome: outcomeOf(findings), findings }
}

const NOTHING_IN_SCOPE: Verdict = Object.freeze({ outcome: 'NOT_APPLICABLE', findings: [] })

function outcomeOf(findings: readonly PolicyFinding[]): EvaluationOutcome {
  const evaluated = findings.filter(({ met }) => met !== null)
  if (evaluated.length === 0) return 'NOT_APPLICABLE'
  const hit = evaluated.filter(({ met }) => !met)
  if (hit.length === 0) return 'NO_VIOLATION'
  return hit.every(({ effect }) => effect === 'warn') ? 'ADVISORY' : 'VIOLATION'
}

function limitFinding(policy: LimitPolicy, facts: RunFacts, windowUses: WindowUses): LimitFinding {
  const { name, version, metric, effect, max } = policy
  const finding = { name, version, metric, effect, limit: max }
  const note = notAtEnd(policy)
  const seen = note === null ? undefined : windowUses.get(name)
  if (seen?.version === version) return { ...finding, value: seen.value, met: seen.met }
  if (note !== null) return { ...finding, value: null, met: null, note }
  const value = usedOf(metric, facts)
  const uncosted = metric === 'cost_usd' && facts.uncostedSteps > 0
  return {
    ...finding,
    value,
    met: isWithin(policy, facts),
    ...(uncosted && { note: `the cost of ${facts.uncostedSteps} model calls is not known` }),
  }
}

const WHEN_CHARS_MAX = 200

function expressionFinding({ name, version, effect, when, compiled }: ExpressionPolicy, context: ExpressionContext) {
  const cut = when.length <= WHEN_CHARS_MAX ? when : `${when.slice(0, WHEN_CHARS_MAX - 1)}…`
  const finding = { name, version, effect, when: cut }
  const answer: ExpressionAnswer = compiled.ok
    ? compiled.expression.holdAgainst(context)
    : { kind: 'failed', message: compiled.problems[0]?.message ?? 'it does not compile' }
  switch (answer.kind) {
    case 'hit':
      return { ...finding, met: false }
    case 'clear':
      return { ...finding, met: true }
    case 'needs_step':
      return { ...finding, met: null, note: NO_NEXT_STEP }
    case 'failed':
      return { ...finding, met: false, note: `it could not be evaluated, which never means allowed: ${answer.message}` }
  }
}

const NANO_PER_USD = 1e9

/** What a run used of a metric; null when nothing was recorded. */
export function usedOf(metric: PolicyMetric, facts: RunFacts): number | null {
  switch (metric) {
    case 'cost_usd':
      return facts.costNanoUsd === null ? null : Number(facts.costNanoUsd) / NANO_PER_USD
    case 'tokens':
      return facts.tokensIn === null && facts.tokensOut === null ? null : (facts.tokensIn ?? 0) + (facts.tokensOut ?? 0)
    case 'steps':
      return facts.steps
    case 'tool_calls':
      return facts.toolCalls
    case 'wall_clock_seconds':
      return facts.wallClockMs === null ? null : facts.wallClockMs / 1_000
    case 'requests_per_minute':
      return null
  }
}

/** Money is compared in whole nano-dollars, so that 0.1 + 0.2 is not over a limit of 0.3. */
export function isWithin({ metric, max }: LimitPolicy, facts: RunFacts): boolean {
  if (metric === 'cost_usd') {
    return facts.costNanoUsd === null || facts.costNanoUsd <= BigInt(Math.round(max * NANO_PER_USD))
  }
  const value = usedOf(metric, facts)
  return value === null || value <= max
}
