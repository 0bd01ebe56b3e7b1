export { Budgets } from './budgets.ts'
export {
  MidExecutionPolicyChecker,
  type PolicyCheckerOptions,
  PolicyCheckResult,
} from './mid-execution-policy-checker.ts'
export { ObservabilityGuard, ObservabilityMode } from './observability-guard.ts'
export type { CheckFacts } from './policy-check.ts'
export { type Prices, pricesSchema } from './prices.ts'
export { runPlan } from './run-plan.ts'
export { RunScope } from './run-scope.ts'
export type { RunClosing, RunnerOptions } from './runner.ts'
export { builtInSkills, type ScriptedReply, scriptedModel } from './skills/skills.ts'
export { createStepGates } from './step-gate.ts'
export { createWorkerPool, type WorkerPool, type WorkerPoolOptions } from './worker-pool.ts'
