import { Expressions, PolicyBook, type PolicyDefinition } from '../src/domains/policies/policies.ts'
import { BudgetGate } from '../src/flow/execution/budget-gate.ts'
import { rememberedLimits } from '../src/flow/execution/budget-limits.ts'
import type { RunControl } from '../src/flow/execution/run-control.ts'
import { rememberedConditions } from '../src/flow/execution/step-conditions.ts'
import { StepGate } from '../src/flow/execution/step-gate.ts'
import type { Lease, StepRow } from '../src/flow/kernel/kernel.ts'
import { systemClock as clock } from '../src/foundation/clock.ts'
import { silentLogger as log } from '../src/foundation/log.ts'
import { createMetrics } from '../src/foundation/metrics.ts'

/*
 * CPU that looking at policies takes of a run with five model calls, without a database: five conditions and four limits
 * of a run, the checks off, at their defaults, before each step. `policies.ts` measures runs a second with the same ones,
 * and is noisy where others share the machine; CPU is less so. The least of some rounds.
 *
 *     node bench/checks.ts
 */
const ROUNDS = 12
const RUNS = 3_000
const STEPS = 5
const used = { tokensIn: 400, tokensOut: 120, costNanoUsd: 2_000_000n }
const nothingUsed = { steps: 0, failedSteps: 0, traceGaps: 0, toolCalls: 0, uncostedSteps: 0 }

const common = { description: null, agent: null, effect: 'terminate', onChange: 'pause', enabled: true } as const
const conditions = Array.from({ length: 5 }, (_, i): PolicyDefinition => {
  const when = `step.tool == "shell" && run.cost_usd > ${i}.5 || run.steps > ${1_000 + i}`
  return { ...common, name: `condition-${i}`, when }
})
const bounds = { cost_usd: 5, tokens: 500_000, steps: 200, wall_clock_seconds: 600 } as const
const runLimits = Object.entries(bounds).map(([metric, max]): PolicyDefinition => {
  return { ...common, name: metric, metric: metric as keyof typeof bounds, max, scope: 'run', window: 'run' }
})
const book = new PolicyBook(new Expressions())
const policies = [...conditions, ...runLimits].map((definition) => book.inForce(definition, 1))
book.remember('default', { version: 1, policies })

const shared = { onError: 'continue', muted: false, clock, log, metrics: createMetrics(), book } as const
const limitsOf = rememberedLimits()
const conditionsOf = rememberedConditions()
const claim = { tenantId: 'default', runId: 'run', agent: 'bench', policiesVersion: 1, fresh: true }
const control = {
  policiesVersion: 1,
  claim: { ...claim, executionStartedAt: clock.now() },
  whenPoliciesChange: () => undefined,
} as unknown as RunControl

async function run(checks: { enabled: boolean; intervalMs: number; minSteps: number }): Promise<void> {
  const budget = new BudgetGate({
    run: { ...claim, apiKey: null, ancestors: [] },
    lease: claim as unknown as Lease,
    fresh: true,
    newId: () => 'bench',
    charge: () => Promise.reject(new Error('far from its limits a run charges nothing')),
    muted: false,
    clock,
    random: Math.random,
    log,
    onPolicies: () => undefined,
    onReserving: () => undefined,
    onClosed: () => undefined,
  })
  let steps = 0
  const totals = () => ({ ...nothingUsed, ...used, steps })
  const read = async () => {
    const facts = { ...totals(), tenantId: 'default', agent: 'bench', wallClockMs: 5 }
    return { facts: { run: facts, stop: null, tenantSuspended: false }, policies: null, counting: [] }
  }
  const keep = async () => undefined
  const gate = new StepGate({ ...shared, ...checks, control, totals, read, keep, budget, limitsOf, conditionsOf })
  for (; steps < STEPS; steps++) {
    const step = { key: `ask#${steps}`, kind: 'llm', name: 'ask', tool: '' }
    await gate.before(step, { estimate: () => ({ tokens: 520, costNanoUsd: 2_000_000n }) })
    budget.begins(step.key, 1)
    await budget.record(
      { ...step, ...used, status: 'succeeded', attempt: 1, error: null } as unknown as StepRow,
      async () => null,
    )
  }
  await gate.close(true)
}

const MODES = {
  off: { enabled: false, intervalMs: 30_000, minSteps: 3 },
  'at the defaults': { enabled: true, intervalMs: 30_000, minSteps: 3 },
  'before each step': { enabled: true, intervalMs: 0, minSteps: 1 },
}
const least = new Map<string, number>()
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, mode] of Object.entries(MODES)) {
    const before = process.cpuUsage()
    for (let i = 0; i < RUNS; i++) await run(mode)
    const { user, system } = process.cpuUsage(before)
    least.set(name, Math.min(least.get(name) ?? Number.POSITIVE_INFINITY, (user + system) / RUNS))
  }
}
for (const [name, us] of least) process.stdout.write(`checks ${name}: ${us.toFixed(0)} µs of CPU a run\n`)
