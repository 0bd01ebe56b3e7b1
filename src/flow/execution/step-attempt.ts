import type { Secrets, SkillContext } from '../../domains/agents/agents.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { RunControl } from './run-control.ts'
import type { StepResult, StepSpec } from './step-spec.ts'

export type AttemptOutcome =
  | { readonly kind: 'done'; readonly result: StepResult }
  | { readonly kind: 'failed'; readonly error: unknown; readonly retryable: boolean }

export interface AttemptOptions {
  readonly control: RunControl
  readonly attempt: number
  readonly idempotencyKey: string
  readonly timeoutMs: number
  readonly secrets: Secrets
  /** Called when the step's code returns after its timeout, with what it used. */
  readonly onLate: (result: StepResult) => void
}

/**
 * Runs a step's code once. Its signal aborts at its timeout and when the run is interrupted. Without a promise when the
 * code answers at once.
 */
export function runAttempt(spec: StepSpec, options: AttemptOptions): AttemptOutcome | Promise<AttemptOutcome> {
  const context = new AttemptContext(options)
  try {
    const working = spec.execute(context)
    if (working instanceof Promise) return settled(working, spec.name, context, options)
    context.close()
    return { kind: 'done', result: working }
  } catch (error) {
    context.close()
    return failed(error)
  }
}

async function settled(
  working: Promise<StepResult>,
  step: string,
  context: AttemptContext,
  options: AttemptOptions,
): Promise<AttemptOutcome> {
  try {
    return { kind: 'done', result: await context.orTimeout(working, step, options) }
  } catch (error) {
    return failed(error)
  } finally {
    context.close()
  }
}

function failed(error: unknown): AttemptOutcome {
  return { kind: 'failed', error, retryable: isRetryable(error) }
}

/** What a step's code gets. The signal is made when it is asked for, the timer when the code does not answer at once. */
class AttemptContext implements SkillContext {
  readonly attempt: number
  readonly idempotencyKey: string
  readonly secrets: Secrets
  readonly #control: RunControl
  #abort: AbortController | undefined
  #unhear: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ control, attempt, idempotencyKey, secrets }: AttemptOptions) {
    this.#control = control
    this.secrets = secrets
    this.attempt = attempt
    this.idempotencyKey = idempotencyKey
  }

  get signal(): AbortSignal {
    if (this.#abort) return this.#abort.signal
    const abort = new AbortController()
    const { signal } = this.#control
    const onInterrupt = () => abort.abort(signal.reason)
    signal.addEventListener('abort', onInterrupt, { once: true })
    this.#unhear = () => signal.removeEventListener('abort', onInterrupt)
    if (signal.aborted) onInterrupt()
    this.#abort = abort
    return abort.signal
  }

  orTimeout(working: Promise<StepResult>, step: string, { timeoutMs, onLate }: AttemptOptions): Promise<StepResult> {
    const timedOut = new Promise<never>((_, reject) => {
      this.#timer = setTimeout(() => {
        working.then(onLate, () => undefined)
        const error = new AppError('STEP_TIMEOUT', `step ${step} took longer than ${timeoutMs} ms`)
        this.#abort?.abort(error)
        reject(error)
      }, timeoutMs)
    })
    return Promise.race([working, timedOut])
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#unhear?.()
  }
}

/** Anything may be worth another try but what says that it is not: our terminal errors, and wrong programs. */
function isRetryable(error: unknown): boolean {
  if (error instanceof AppError) return error.kind === 'retryable'
  return !(error instanceof TypeError || error instanceof ReferenceError || error instanceof SyntaxError)
}
