export type { Config, ConfigOverrides } from './config.ts'
export {
  type Agent,
  type AgentContext,
  type ApprovalDecision,
  type ApprovalOptions,
  type Approver,
  defineAgent,
  defineSkill,
  type LlmRequest,
  type LlmResult,
  type Skill,
  type StepApi,
  type StepContext,
  type StepOptions,
  type WaitOptions,
} from './domains/agents/agents.ts'
export { AlertSeverity, AuditAlertType, type StoredAlert } from './domains/alerts/alerts.ts'
export type { Approval, ApprovalState } from './domains/approvals/approvals.ts'
export { type AuditExpectation, AuditReconciler, type DomainAck } from './domains/audit/audit.ts'
export { IncidentFacade } from './domains/incidents/incidents.ts'
export { Authority, mayResume, PauseReason } from './domains/pauses/pauses.ts'
export {
  type PolicyChange,
  PolicyDecision,
  type PolicyDefinition,
  type PolicyInput,
  type PolicyViolation,
  PolicyViolationType,
  type StoredPolicy,
} from './domains/policies/policies.ts'
export {
  PhaseTransitionError,
  type RunFilter,
  type RunOutcome,
  RunPhase,
  type RunStatus,
  type RunSummary,
} from './domains/runs/runs.ts'
export { TraceFacade } from './domains/traces/traces.ts'
export {
  createGovernanceRecordsAtomic,
  createGovernanceRecordsForRun,
  createGovernanceRecordsLegacy,
  createTransactionCoordinator,
  type DomainResult,
  type EndingRun,
  GovernanceFacade,
  type Participant,
  type ParticipantIntent,
  RunCompletionTransaction,
  TransactionFailed,
  TransactionPhase,
  TransactionResult,
} from './flow/completion/completion.ts'
export type { Sink } from './flow/delivery/delivery.ts'
export {
  type CheckFacts,
  MidExecutionPolicyChecker,
  ObservabilityGuard,
  ObservabilityMode,
  type PolicyCheckerOptions,
  PolicyCheckResult,
  scriptedModel,
} from './flow/execution/execution.ts'
export type { Authorize, SubmitRequest } from './flow/intake/intake.ts'
export {
  type EventHandler,
  EventReactor,
  type HandlerContext,
  type HandlerDefinition,
  type HandlerOptions,
  ReactorState,
  type TransactionalContext,
  type TransactionalHandler,
} from './flow/reactor/reactor.ts'
export { AppError, type ErrorCode } from './foundation/app-error.ts'
export { EventEnvelope, type EventType } from './foundation/events/events.ts'
export type { Json } from './foundation/json.ts'
export type { PayloadCodec } from './foundation/payload-codec.ts'
export type { Tx } from './foundation/storage/storage.ts'
export {
  type Concordat,
  type ConcordatDefinition,
  type ConcordatOptions,
  createConcordat,
  defineConfig,
  getTransactionCoordinator,
} from './runtime.ts'
export type {
  AlertsApi,
  ApprovalReport,
  ApprovalsApi,
  ApprovalsFilter,
  AuditApi,
  AuditReport,
  DecisionInput,
  PauseInput,
  PauseReport,
  PauseResult,
  PoliciesApi,
  ResumeAllInput,
  ResumeAllResult,
  ResumeInput,
  ResumeResult,
  RunHandle,
  RunReport,
  RunsApi,
  SentSignal,
  SignalInput,
  StepReport,
  StopAllInput,
  StopAllResult,
  StopInput,
  SuspendResult,
  TenantsApi,
} from './surface/library/library.ts'
