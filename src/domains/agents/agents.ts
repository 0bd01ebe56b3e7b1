export type { Agent, AgentContext, CodeAgent, PlanAgent, ToolFunction } from './agent.ts'
export { defineAgent } from './agent.ts'
export { AgentDirectory } from './agent-directory.ts'
export type { RegisteredAgent } from './agent-store.ts'
export { listAgents, registerAgents } from './agent-store.ts'
export type { Plan, PlanDefinition, PlanStep } from './plan.ts'
export { validatePlan } from './plan.ts'
export type { ReferenceScope } from './references.ts'
export { resolveReferences } from './references.ts'
export { SignalSchemas } from './signal-schema.ts'
export type { Secrets, Skill, SkillContext, SkillStep, ToolCall } from './skill.ts'
export { defineSkill } from './skill.ts'
export type {
  ApprovalDecision,
  ApprovalOptions,
  Approver,
  ChildOptions,
  LlmRequest,
  LlmResult,
  RecordedStep,
  RetryOptions,
  StepApi,
  StepContext,
  StepOptions,
  ToolOptions,
  WaitOptions,
} from './step-api.ts'
