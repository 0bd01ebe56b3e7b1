import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { z } from 'zod'
import type { Json, JsonObject } from '../../foundation/json.ts'

/** What a step's own code gets. Pass `signal` on, so that a stop, the deadline or a lost lease ends the work at once. */
export interface StepContext {
  readonly signal: AbortSignal
  /** 1 on the first try. */
  readonly attempt: number
  /** Stable over retries and resumes: send it to services that deduplicate. */
  readonly idempotencyKey: string
}

export interface RetryOptions {
  /** Tries altogether, 1 to 100; default 3. */
  readonly maxAttempts?: number
  /** First pause in milliseconds; doubles, with jitter. */
  readonly baseMs?: number
  readonly capMs?: number
}

/** As what somebody may decide an approval. OPERATOR always may. */
export type Approver = 'TENANT_USER' | 'TENANT_ADMIN' | 'API_KEY_OWNER' | 'OPERATOR'

/** What is asked of people before a step runs. */
export interface ApprovalOptions {
  /** What the step is about to do, as people see it beside its input. Another action needs another approval. */
  readonly action?: Json
  /** What is asked, for people; a sentence about the step where it is left out. */
  readonly message?: string
  /** Who may decide; TENANT_ADMIN where it is left out. */
  readonly approvers?: readonly Approver[]
  /** Milliseconds until it expires, at most a year; PAUSE_SLA_SECONDS where it is left out. */
  readonly timeout?: number
}

/** What somebody decided. */
export interface ApprovalDecision {
  readonly decision: 'approved' | 'rejected'
  readonly by: string
  /** As what, as in `TENANT_ADMIN`. */
  readonly as: string
  readonly note: string | null
  /** RFC 3339. */
  readonly decidedAt: string
}

export interface StepOptions {
  /**
   * False when the step may safely run again: then nothing is recorded before it, and it simply runs again after a
   * crash. Otherwise its start is recorded first, and a crash in between leaves it `unknown`.
   */
  readonly sideEffects?: boolean
  /** The step runs only once somebody approved it. Rejected, it fails with `APPROVAL_REJECTED`, which can be caught. */
  readonly approval?: ApprovalOptions
  /** Of a step that a crash left `unknown`: `fail` with `STEP_UNKNOWN`, the default, or `ask` whether it may run again. */
  readonly onUnknown?: 'fail' | 'ask'
  readonly retry?: RetryOptions
  /** Milliseconds; default STEP_TIMEOUT_SECONDS. */
  readonly timeoutMs?: number
  /**
   * The most that it costs, for budgets: reserved before the step runs. Without it a model call is estimated, and any
   * other step reserves nothing. One that costs more breaks the budget's policy.
   */
  readonly maxCostUsd?: number
  /** The same in tokens, in and out together. */
  readonly maxTokens?: number
}

export interface ToolOptions extends StepOptions {
  /** The tool or skill that is called, where the step is to have a name of its own. */
  readonly tool?: string
}

export interface LlmRequest {
  readonly model: LanguageModelV4
  readonly prompt: string
  readonly system?: string
  readonly temperature?: number
  readonly maxOutputTokens?: number
}

export interface LlmResult {
  readonly text: string
  readonly finishReason: string
  readonly [key: string]: Json
}

/** A step that happened elsewhere, recorded here as it was. */
export interface RecordedStep {
  readonly kind: 'llm' | 'tool' | 'user'
  readonly name: string
  readonly input: Json
  readonly output: Json
  readonly error?: string | null
  readonly tokensIn?: number | null
  readonly tokensOut?: number | null
  readonly costUsd?: number | null
  readonly latencyMs?: number | null
  readonly attributes?: { readonly [key: string]: Json }
}

export interface WaitOptions<T> {
  /** What the payload must fit: of zod, or JSON Schema. Anything where it is left out. */
  readonly schema?: z.ZodType<T> | JsonObject
  /** Milliseconds; default a day, at most a year. */
  readonly timeout?: number
}

export interface ChildOptions {
  /** The step's own name; the agent's where it is left out. */
  readonly name?: string
  /** The newest version that is configured where it is left out. */
  readonly version?: string
}

/**
 * The durable steps of a run. Each result is committed before its promise resolves; on resume a recorded step returns
 * its recorded result (or throws its recorded error) without running again.
 */
export interface StepApi {
  /** Runs `work` once and records what it returns. */
  do<T>(name: string, work: (context: StepContext) => T | Promise<T>, options?: StepOptions): Promise<T>
  /** Runs the agent's tool, or the registered skill, of that name. */
  tool<T = Json>(name: string, input: Json, options?: ToolOptions): Promise<T>
  /** One model call through the AI SDK's model interface; tokens and cost are recorded. Runs again after a crash. */
  llm(name: string, request: LlmRequest, options?: StepOptions): Promise<LlmResult>
  /** Waits without holding a worker slot. */
  sleep(name: string, ms: number): Promise<void>
  /**
   * Waits for a signal of that name, without holding a worker slot, and returns its payload as the schema makes it. Two
   * waits for one name get two signals. Fails with `WAIT_TIMED_OUT` when none that fits comes in time.
   */
  waitFor<T = Json>(name: string, options?: WaitOptions<T>): Promise<T>
  /**
   * Starts a run of another agent for the same tenant and returns its output, without holding a worker slot meanwhile.
   * Fails with `CHILD_FAILED` when it does not succeed, and with the code of a denial or a wrong request. What it uses
   * counts as this run's; it is stopped when this run ends before it.
   */
  run<T = Json>(agent: string, input?: Json, options?: ChildOptions): Promise<T>
  /**
   * Asks somebody to decide, and returns what they decided and why: a rejection is an answer. The run is paused meanwhile.
   * Fails with `APPROVAL_EXPIRED` when nobody decides in time and PAUSE_TIMEOUT_BEHAVIOR lets the run go on.
   */
  approval(name: string, options: ApprovalOptions): Promise<ApprovalDecision>
  /** Records a step that happened elsewhere; its error is recorded, not thrown. Nothing is executed. */
  record(step: RecordedStep): Promise<Json>
}
