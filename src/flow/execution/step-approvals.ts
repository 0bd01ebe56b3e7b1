import type { ApprovalDecision, Approver } from '../../domains/agents/agents.ts'
import { type Action, type Approval, actionDigest } from '../../domains/approvals/approvals.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { type EncodedPayload, type PayloadCodec, safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { AskedApproval, Claim, PauseOrder, RunOrchestrationKernel } from '../kernel/kernel.ts'
import type { Interruption } from './run-control.ts'

/** What a step asks before it runs: of the agent's own accord, or because a policy demands it. */
export interface ApprovalAsk {
  /** For people; a sentence about the step where it is left out. */
  readonly message?: string | undefined
  /** TENANT_ADMIN where they are left out. */
  readonly approvers?: readonly Approver[] | undefined
  /** PAUSE_SLA_SECONDS where it is left out. */
  readonly timeoutMs?: number | undefined
  /** What the step is about to do, beyond its input. */
  readonly action?: Json | undefined
  /** Why a policy demands it: what stands against the step. */
  readonly detail?: Json | undefined
  /** True where a policy demands it: what the step may use is not reserved yet. */
  readonly unreserved?: boolean
}

/** The step that asks. */
export interface AskingStep {
  readonly key: string
  readonly kind: string
  readonly name: string
  readonly input: EncodedPayload
  /** True once it has a row, without which nobody can have been asked. */
  readonly stored: boolean
}

export type ApprovalAnswer =
  /** Nobody has decided yet: the run is to pause. */
  | { readonly kind: 'ask'; readonly pause: PauseOrder }
  /** `started`: the step's start is recorded by this. */
  | { readonly kind: 'granted'; readonly decision: ApprovalDecision; readonly started: boolean }
  | { readonly kind: 'rejected'; readonly decision: ApprovalDecision; readonly error: AppError }
  | { readonly kind: 'expired'; readonly error: AppError }
  /** Approved, and something else stands against the step: the approval is kept for it. */
  | { readonly kind: 'refused'; readonly refusal: Interruption }

/** What an approval is for. */
export interface ApprovalUse {
  readonly purpose: AskedApproval['purpose']
  readonly attempt: number
  /** Reserves what the step may use, before an approval is used up; answers what stands against that. */
  readonly reserve?: (by: string) => Promise<Interruption | null>
}

export interface StepApprovalsOptions {
  readonly kernel: Pick<RunOrchestrationKernel, 'approvalAt' | 'startApproved'>
  readonly codec: PayloadCodec
  readonly clock: Clock
  readonly newId: IdSource
}

const ACTION_LIMIT = {
  bytesMax: 2 * limits.runInputBytesMax,
  what: 'action of an approval',
  tooLargeCode: 'INPUT_TOO_LARGE',
} as const

/** The approvals that the steps of one run ask for. */
export class StepApprovals {
  readonly #options: StepApprovalsOptions
  readonly #claim: Claim

  constructor(options: StepApprovalsOptions, claim: Claim) {
    this.#options = options
    this.#claim = claim
  }

  /**
   * What an approval says to a step that is about to run for this attempt. One that is granted is used up by it. Fails with
   * `RUN_DIVERGED` when it was asked for another action.
   */
  async answer(step: AskingStep, ask: ApprovalAsk, use: ApprovalUse): Promise<ApprovalAnswer> {
    const { purpose } = use
    const { kernel, codec } = this.#options
    const { agent, agentVersion: version } = this.#claim
    const { kind, name } = step
    const input = codec.decode(step.input.text)
    const action: Action = {
      agent,
      version,
      kind,
      name,
      input,
      ...(ask.action !== undefined && { action: ask.action }),
    }
    const digest = actionDigest(action)
    const latest = step.stored ? await kernel.approvalAt(this.#claim, step.key) : null
    // A step that is to run again after it may have acted needs an approval of that, and each time a new one.
    const isSpent = purpose === 'REPEAT' && (latest?.purpose !== 'REPEAT' || latest.state === 'consumed')
    const given = isSpent || (latest && ask.unreserved && isTooWeak(latest)) ? null : latest
    if (given === null) return { kind: 'ask', pause: this.#ask(step, ask, { purpose, digest, action }) }
    if (given.digest !== digest) {
      throw new AppError(
        'RUN_DIVERGED',
        `step ${step.key} asked for the approval of another action than it is about to do`,
      )
    }
    return this.#follow(step, ask, given, { ...use, action })
  }

  async #follow(
    step: AskingStep,
    ask: ApprovalAsk,
    given: Approval,
    { action, attempt, reserve }: ApprovalUse & { readonly action: Action },
  ): Promise<ApprovalAnswer> {
    const { approvalId, digest, purpose } = given
    switch (given.state) {
      case 'pending': {
        const timeoutMs = given.expiresAt
          ? Math.max(1, given.expiresAt.getTime() - this.#options.clock.now().getTime())
          : undefined
        return { kind: 'ask', pause: this.#ask(step, { ...ask, timeoutMs }, { purpose, digest, action, approvalId }) }
      }
      case 'approved': {
        const stepKey = step.key
        const refusal = await reserve?.(given.decidedBy ?? '')
        if (refusal) return { kind: 'refused', refusal }
        const good = await this.#options.kernel.startApproved(this.#claim, { approvalId, stepKey, digest, attempt })
        return good
          ? { kind: 'granted', decision: decisionOf(given), started: true }
          : { kind: 'expired', error: expired(given) }
      }
      case 'consumed': {
        // by an earlier attempt of this very step
        const refusal = await reserve?.(given.decidedBy ?? '')
        if (refusal) return { kind: 'refused', refusal }
        return { kind: 'granted', decision: decisionOf(given), started: false }
      }
      case 'rejected':
        return { kind: 'rejected', decision: decisionOf(given), error: rejected(given) }
      case 'expired':
      case 'cancelled':
        return { kind: 'expired', error: expired(given) }
    }
  }

  #ask(
    step: AskingStep,
    { message, approvers, timeoutMs, detail }: ApprovalAsk,
    asked: Pick<AskedApproval, 'purpose' | 'digest'> & { readonly action: Action; readonly approvalId?: string },
  ): PauseOrder {
    const { codec, newId } = this.#options
    const { action, digest, purpose, approvalId = newId() } = asked
    const stored = codec.encode(action, ACTION_LIMIT)
    return {
      reason: 'APPROVAL_REQUIRED',
      message: safeText(message ?? question(step, purpose), limits.noteCharsMax),
      detail: { approvalId, stepKey: step.key, purpose, digest, ...(isObject(detail) && detail) },
      ...(approvers && { approvers }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      approval: {
        approvalId,
        stepKey: step.key,
        purpose,
        agent: this.#claim.agent,
        digest,
        policy: policyOf(detail),
        action: stored.text,
      },
    }
  }
}

/** As what somebody may approve a step that a policy holds back. */
const ABOVE_AGENTS: readonly string[] = ['TENANT_ADMIN', 'OPERATOR'] satisfies Approver[]

/**
 * Pure. Who may approve what a policy demands: those of the agent's own approvers that are not below the policy's, which is
 * `TENANT_ADMIN`. An agent can narrow who decides, and can't loosen it. Undefined: the policy's.
 */
export function approversUnderPolicy(named: readonly Approver[] | undefined): readonly Approver[] | undefined {
  const fit = named?.filter((approver) => ABOVE_AGENTS.includes(approver)) ?? []
  return fit.length > 0 ? fit : undefined
}

/** Pure. True for what the agent asked of its own approvers before a policy demanded it, and one below the policy's granted. */
function isTooWeak({ state, decidedAs }: Approval): boolean {
  return (state === 'approved' || state === 'consumed') && !ABOVE_AGENTS.includes(decidedAs ?? '')
}

function question({ key, kind }: AskingStep, purpose: AskedApproval['purpose']): string {
  if (purpose === 'REPEAT')
    return `step ${key} was started and then interrupted, and may have acted: is it to run again?`
  return `the agent asks for the approval of ${kind} step ${key}`
}

/** The policy that demands it, where the violations are a policy's. */
function policyOf(detail: Json | undefined): string | null {
  const { violations = [] } = (isObject(detail) ? detail : {}) as {
    violations?: readonly { policyId?: string | null }[]
  }
  return violations.find(({ policyId }) => policyId)?.policyId ?? null
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function decisionOf({ state, decidedBy, decidedAs, decidedAt, note }: Approval): ApprovalDecision {
  return {
    decision: state === 'rejected' ? 'rejected' : 'approved',
    by: decidedBy ?? '',
    as: decidedAs ?? '',
    note,
    decidedAt: decidedAt?.toISOString() ?? '',
  }
}

function rejected({ stepKey, decidedBy, decidedAs, note, approvalId }: Approval): AppError {
  const why = note === null ? '' : `: ${note}`
  return new AppError('APPROVAL_REJECTED', `step ${stepKey} was rejected by ${decidedBy} as ${decidedAs}${why}`, {
    details: { approvalId },
  })
}

function expired({ stepKey, state, decidedAt, approvalId }: Approval): AppError {
  const message =
    state === 'approved' || decidedAt !== null
      ? `step ${stepKey} was approved, and its approval was not used in time`
      : `nobody decided in time whether step ${stepKey} may run`
  return new AppError('APPROVAL_EXPIRED', message, { details: { approvalId } })
}
