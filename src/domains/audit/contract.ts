import { hash } from 'node:crypto'
import { limits } from '../../limits.ts'

/** The audit contract of a run: what must be acknowledged, and within how long. */

export type Anchor = 'EXECUTION_START' | 'EXECUTION_END'

/** One thing that must be acknowledged. `deadlineMs` counts from the anchor; nothing is overdue while queued. */
export interface AuditExpectation {
  readonly domain: string
  readonly action: string
  readonly deadlineMs: number | null
  readonly anchor: Anchor
}

/** Whether it is a time that can be counted: stored contracts are JSON, where a hand may have left anything. */
export function hasDeadline(deadlineMs: unknown): deadlineMs is number {
  return typeof deadlineMs === 'number' && deadlineMs > 0 && deadlineMs <= limits.expectationDeadlineMsMax
}

export type AckStatus = 'SUCCESS' | 'FAILED' | 'ROLLED_BACK'

/** What a domain says it did, written in the same transaction as the work that it reports. */
export interface DomainAck {
  readonly domain: string
  readonly action: string
  readonly attempt: number
  readonly status: AckStatus
  readonly resultId: string | null
  readonly error: string | null
}

/** As much of an ack as a contract is held against. */
export type AckOutcome = Pick<DomainAck, 'domain' | 'action' | 'status' | 'error'>

export interface Action {
  readonly domain: string
  readonly action: string
}

export const ACTIONS = Object.freeze({
  createIncident: { domain: 'incidents', action: 'create_incident' },
  evaluatePolicy: { domain: 'policies', action: 'evaluate_policy' },
  startTrace: { domain: 'logs', action: 'start_trace' },
  completeTrace: { domain: 'logs', action: 'complete_trace' },
  finalizeRun: { domain: 'orchestrator', action: 'finalize_run' },
}) satisfies Record<string, Action>

export interface Deadlines {
  readonly actionMs: number
  readonly runTimeoutMs: number
  readonly finalizeGraceMs: number
}

/** What runs are held against. Many share one: its id, a UUID, is a digest of what it says. */
export interface AuditContract {
  readonly contractId: string
  readonly expectations: readonly AuditExpectation[]
}

export function declareContract(deadlines: Deadlines): AuditContract {
  const expectations = declareExpectations(deadlines)
  const digest = hash('sha256', JSON.stringify(expectations))
  // Version 8, variant 1: a UUID of one's own making (RFC 9562, section 5.8).
  const parts = [digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`]
  return { contractId: [...parts, digest.slice(20, 32)].join('-'), expectations }
}

/** What every run must leave, declared at T0: four actions, and that it is finalised at all. */
function declareExpectations({ actionMs, runTimeoutMs, finalizeGraceMs }: Deadlines): AuditExpectation[] {
  return [
    { ...ACTIONS.startTrace, deadlineMs: actionMs, anchor: 'EXECUTION_START' },
    { ...ACTIONS.createIncident, deadlineMs: actionMs, anchor: 'EXECUTION_END' },
    { ...ACTIONS.evaluatePolicy, deadlineMs: actionMs, anchor: 'EXECUTION_END' },
    { ...ACTIONS.completeTrace, deadlineMs: actionMs, anchor: 'EXECUTION_END' },
    { ...ACTIONS.finalizeRun, deadlineMs: runTimeoutMs + finalizeGraceMs, anchor: 'EXECUTION_START' },
  ]
}

export function ackOf(
  action: Action,
  status: AckStatus,
  {
    resultId = null,
    error = null,
    attempt = 1,
  }: { resultId?: string | null; error?: string | null; attempt?: number } = {},
): DomainAck {
  return { domain: action.domain, action: action.action, attempt, status, resultId, error }
}

export function sameAction(a: Action, b: Action): boolean {
  return a.domain === b.domain && a.action === b.action
}
