export type { Acting } from './acting.ts'
export { type AlertsApi, createAlertsApi } from './alerts-api.ts'
export {
  type ApprovalReport,
  type ApprovalsApi,
  type ApprovalsFilter,
  createApprovalsApi,
  type DecisionInput,
} from './approvals-api.ts'
export { type AuditApi, type AuditReport, createAuditApi } from './audit-api.ts'
export { createPoliciesApi, type PoliciesApi } from './policies-api.ts'
export type { PolicyUsage, UsageOptions } from './policy-usage.ts'
export type {
  PauseInput,
  PauseResult,
  ResumeAllInput,
  ResumeAllResult,
  ResumeInput,
  ResumeResult,
} from './run-pauses.ts'
export type { PauseReport, RunBudget, RunReport, StepReport } from './run-report.ts'
export { RunResults } from './run-results.ts'
export { createRunsApi, type RunHandle, type RunsApi } from './runs-api.ts'
export type { SentSignal, SignalInput } from './send-signal.ts'
export type { ChangedVerdict, Simulation } from './simulate-policies.ts'
export type { StopAllInput, StopAllResult, StopInput } from './stop-input.ts'
export { createSubscriptionsApi, type SubscriptionsApi } from './subscriptions-api.ts'
export { createTenantsApi, type SuspendResult, type TenantsApi } from './tenants-api.ts'
