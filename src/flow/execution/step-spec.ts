import type {
  ApprovalOptions,
  RecordedStep,
  RetryOptions,
  SkillContext,
  StepOptions,
} from '../../domains/agents/agents.ts'
import { AppError, type SerializedError } from '../../foundation/app-error.ts'
import { nanoFromUsd } from '../../foundation/money.ts'
import type { EncodedPayload } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { StepStatus } from '../kernel/kernel.ts'
import type { ChildSpec } from './child-runs.ts'
import type { SignalSpec } from './signal-waits.ts'
import type { ApprovalAsk } from './step-approvals.ts'
import { declaredBound, type StepBound } from './step-bound.ts'

/** What a step's code gives back, and what it used. Absent usage is not recorded; it is not zero. */
export interface StepResult {
  readonly output: unknown
  readonly tokensIn?: number | null
  readonly tokensOut?: number | null
  readonly costNanoUsd?: bigint | null
  readonly latencyMs?: number | null
  readonly attributes?: { readonly [key: string]: unknown }
  /** The step is recorded as failed with this error, beside its output. */
  readonly error?: SerializedError
}

/**
 * One kind of step, ready to be executed: `step.do`, `step.tool`, `step.llm`, `step.sleep`, `step.waitFor`, `step.run`,
 * `step.approval` and `step.record` are these.
 */
export interface StepSpec {
  readonly kind: 'do' | 'tool' | 'llm' | 'user' | 'sleep' | 'signal' | 'run' | 'approval'
  readonly name: string
  readonly input: unknown
  /** Of the tool or skill that it calls. */
  readonly tool?: string
  /** True: its start is recorded first, so that a crash in between is known as such. */
  readonly sideEffects: boolean
  readonly retry: Required<RetryOptions>
  readonly timeoutMs?: number
  /** The most that it may use, as its code declares. */
  readonly declared?: StepBound
  /** The most that it may use, as far as it can be told; asked only where a budget is to be kept. */
  readonly estimate?: () => StepBound
  /** Only for a sleep. */
  readonly sleepMs?: number
  /** Only for a wait. */
  readonly signal?: SignalSpec
  /** Only for a child. */
  readonly child?: ChildSpec
  /** It runs only once somebody approved it. Of a step of kind `approval`, the decision is its output. */
  readonly approval?: ApprovalAsk
  /** Asks whether it may run again when it may have acted already. */
  readonly onUnknown?: 'fail' | 'ask'
  /** A recorded error is returned as it was recorded, not thrown. */
  readonly keepsError?: boolean
  readonly execute: (context: SkillContext) => Promise<StepResult> | StepResult
}

/** What a step's row gets. */
export interface StepWrite {
  readonly status: StepStatus
  readonly attempt: number
  readonly dueAt?: Date
  readonly output?: EncodedPayload
  readonly error?: SerializedError | null
  readonly result?: StepResult
}

const RETRY_ATTEMPTS_CAP = 100
/** Ten years: what is to wait longer is a mistake. */
export const DURATION_MS_MAX = 315_360_000_000

export function isDuration(ms: unknown): ms is number {
  return typeof ms === 'number' && ms >= 0 && ms <= DURATION_MS_MAX
}

export function retryOf({ maxAttempts, baseMs, capMs }: RetryOptions = {}): Required<RetryOptions> {
  const retry = {
    maxAttempts: maxAttempts ?? limits.stepAttemptsMax,
    baseMs: baseMs ?? limits.stepBackoffMsBase,
    capMs: capMs ?? limits.stepBackoffMsCap,
  }
  const { maxAttempts: attempts } = retry
  if (
    !Number.isInteger(attempts) ||
    attempts < 1 ||
    attempts > RETRY_ATTEMPTS_CAP ||
    !isDuration(retry.baseMs) ||
    !isDuration(retry.capMs)
  ) {
    throw new AppError(
      'INVALID_REQUEST',
      `retry takes 1 to ${RETRY_ATTEMPTS_CAP} maxAttempts and pauses of 0 to ${DURATION_MS_MAX} ms`,
    )
  }
  return retry
}

export function specOptions(options: StepOptions = {}, sideEffectsByDefault = true) {
  const { sideEffects, retry, timeoutMs, approval, onUnknown } = options
  const declared = declaredBound(options)
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= limits.timerMsMax)) {
    throw new AppError('INVALID_REQUEST', `a step's timeoutMs is 1 to ${limits.timerMsMax}, not ${timeoutMs}`)
  }
  return {
    sideEffects: sideEffects ?? sideEffectsByDefault,
    retry: retryOf(retry),
    ...(timeoutMs && { timeoutMs }),
    ...(approval && { approval: approvalAsk(approval) }),
    ...(onUnknown && { onUnknown }),
    ...(declared && { declared }),
  }
}

/** Fails with `INVALID_REQUEST` unless a wait may last that long. */
export function waitTimeoutMs(name: string, timeout: number = limits.waitTimeoutMsDefault): number {
  if (typeof timeout === 'number' && timeout > 0 && timeout <= limits.waitTimeoutMsMax) return timeout
  const shown = JSON.stringify(name)
  throw new AppError(
    'INVALID_REQUEST',
    `the timeout of ${shown} is 1 to ${limits.waitTimeoutMsMax} ms, not ${JSON.stringify(timeout)}`,
  )
}

/** An approval as the agent asks for it. */
export function approvalAsk({ action, message, approvers, timeout }: ApprovalOptions): ApprovalAsk {
  return { action, message, approvers, timeoutMs: timeout }
}

/** The result of a step that happened elsewhere. Its cost is rounded half-even once, here. */
export function recordedResult(step: RecordedStep): StepResult {
  const { output, error, tokensIn, tokensOut, costUsd, latencyMs, attributes } = step
  return {
    output,
    tokensIn: tokensIn ?? null,
    tokensOut: tokensOut ?? null,
    costNanoUsd: costUsd === null || costUsd === undefined ? null : nanoFromUsd(costUsd),
    latencyMs: latencyMs ?? null,
    ...(attributes && { attributes }),
    ...(error !== null && error !== undefined && { error: { name: 'RecordedError', message: error } }),
  }
}
