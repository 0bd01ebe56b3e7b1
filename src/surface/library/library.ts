export { type AuditApi, type AuditReport, createAuditApi } from './audit-api.ts'
export type { RunReport, StepReport } from './run-report.ts'
export { RunResults } from './run-results.ts'
export { createRunsApi, type RunHandle, type RunsApi, type StopInput, type StopResult } from './runs-api.ts'
