import { usdFromNano } from '../../foundation/money.ts'

/** The types that a fact can have, in CEL's own words. */
export type FactType = 'string' | 'int' | 'double'

export interface FactDeclaration {
  readonly type: FactType
  readonly meaning: string
}

/** What an expression can ask: the single source of the checker's types and of docs/reference/policies.md. */
export const FACTS = Object.freeze({
  run: {
    tenant: { type: 'string', meaning: 'the tenant' },
    agent: { type: 'string', meaning: 'name of the agent' },
    cost_usd: {
      type: 'double',
      meaning: 'cost so far in US dollars; absent while `run.uncosted_steps` is not 0, since it is then not known',
    },
    uncosted_steps: { type: 'int', meaning: 'model calls whose cost nobody knows, for want of a price' },
    tokens: { type: 'int', meaning: 'tokens sent and received, as far as they were recorded' },
    tokens_in: { type: 'int', meaning: 'tokens sent to models' },
    tokens_out: { type: 'int', meaning: 'tokens received from models' },
    steps: { type: 'int', meaning: 'recorded steps' },
    failed_steps: { type: 'int', meaning: 'those of them that failed' },
    tool_calls: { type: 'int', meaning: 'those of them that were tool calls' },
    wall_clock_seconds: { type: 'double', meaning: 'time since execution started, waiting included; 0 before it' },
  },
  step: {
    kind: { type: 'string', meaning: '`do`, `tool`, `llm`, `user` or `sleep`' },
    name: { type: 'string', meaning: 'name of the step' },
    tool: { type: 'string', meaning: 'name of the tool or skill that it calls; empty when it calls none' },
  },
} as const satisfies Record<string, Record<string, FactDeclaration>>)

/** What an expression is held against: the facts of the run, and those of the next step where there is one. */
export interface ExpressionContext {
  readonly run: { readonly [Fact in keyof typeof FACTS.run]?: string | bigint | number }
  readonly step?: StepFacts
}

/** The next step, as expressions see it. */
export type StepFacts = { readonly [Fact in keyof typeof FACTS.step]: string }

/** What a run has used, at its end or so far. `null`: no step recorded any, which is not zero. */
export interface RunFacts {
  readonly tenantId: string
  readonly agent: string
  readonly costNanoUsd: bigint | null
  readonly uncostedSteps: number
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly steps: number
  readonly failedSteps: number
  readonly toolCalls: number
  /** Null: it never executed. */
  readonly wallClockMs: number | null
}

/** As CEL has them: integers are bigints, and what is not known is not there. */
export function runContext(facts: RunFacts): ExpressionContext['run'] {
  const { tenantId, agent, uncostedSteps, wallClockMs } = facts
  const [tokensIn, tokensOut] = [BigInt(facts.tokensIn ?? 0), BigInt(facts.tokensOut ?? 0)]
  return {
    tenant: tenantId,
    agent,
    ...(uncostedSteps === 0 && { cost_usd: usdFromNano(facts.costNanoUsd ?? 0n) }),
    uncosted_steps: BigInt(uncostedSteps),
    tokens: tokensIn + tokensOut,
    tokens_in: tokensIn,
    tokens_out: tokensOut,
    steps: BigInt(facts.steps),
    failed_steps: BigInt(facts.failedSteps),
    tool_calls: BigInt(facts.toolCalls),
    wall_clock_seconds: (wallClockMs ?? 0) / 1_000,
  }
}
