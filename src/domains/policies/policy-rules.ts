/** A limit on what one run may use, of one tenant; versioned. `maxValue` is USD for `cost_usd`, else a count. */
export interface LimitPolicy {
  readonly name: string
  readonly version: number
  /** Only runs of this agent; null: of every agent. */
  readonly agent: string | null
  readonly metric: PolicyMetric
  readonly maxValue: number
  readonly effect: PolicyEffect
}

export type PolicyMetric = 'cost_usd' | 'tokens' | 'steps'
export type PolicyEffect = 'terminate' | 'warn'
export type EvaluationOutcome = 'NOT_APPLICABLE' | 'NO_VIOLATION' | 'ADVISORY' | 'VIOLATION'

/** What a run used. `null`: not recorded, which is not zero. */
export interface Usage {
  readonly costNanoUsd: bigint | null
  readonly tokens: number | null
  readonly steps: number
}

/** One policy held against one run. `value` null: the run recorded nothing to hold it against. */
export interface PolicyFinding {
  readonly name: string
  readonly version: number
  readonly metric: PolicyMetric
  readonly effect: PolicyEffect
  readonly limit: number
  readonly value: number | null
  readonly met: boolean
}

export interface Verdict {
  readonly outcome: EvaluationOutcome
  readonly findings: readonly PolicyFinding[]
}

const NANO_PER_USD = 1e9

function usedOf(metric: PolicyMetric, usage: Usage): number | null {
  switch (metric) {
    case 'cost_usd':
      return usage.costNanoUsd === null ? null : Number(usage.costNanoUsd) / NANO_PER_USD
    case 'tokens':
      return usage.tokens
    case 'steps':
      return usage.steps
  }
}

/** Money is compared in whole nano-dollars, so that 0.1 + 0.2 is not over a limit of 0.3. */
function isWithin(policy: LimitPolicy, usage: Usage): boolean {
  if (policy.metric === 'cost_usd') {
    return usage.costNanoUsd === null || usage.costNanoUsd <= BigInt(Math.round(policy.maxValue * NANO_PER_USD))
  }
  const value = usedOf(policy.metric, usage)
  return value === null || value <= policy.maxValue
}

/**
 * Holds every policy in scope against what the run used. None in scope: `NOT_APPLICABLE`, which is not the same as
 * allowed; all met: `NO_VIOLATION`; only `warn` rules hit: `ADVISORY`; else `VIOLATION`.
 */
export function evaluate(agent: string, usage: Usage, policies: readonly LimitPolicy[]): Verdict {
  const inScope = policies.filter((policy) => policy.agent === null || policy.agent === agent)
  const findings = inScope.map(({ name, version, metric, effect, maxValue, ...rest }) => ({
    name,
    version,
    metric,
    effect,
    limit: maxValue,
    value: usedOf(metric, usage),
    met: isWithin({ name, version, metric, effect, maxValue, ...rest }, usage),
  }))
  return { outcome: outcomeOf(findings), findings }
}

function outcomeOf(findings: readonly PolicyFinding[]): EvaluationOutcome {
  if (findings.length === 0) return 'NOT_APPLICABLE'
  const hit = findings.filter((finding) => !finding.met)
  if (hit.length === 0) return 'NO_VIOLATION'
  return hit.every((finding) => finding.effect === 'warn') ? 'ADVISORY' : 'VIOLATION'
}
