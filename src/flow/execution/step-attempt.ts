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
}

/** Runs a step's code once. Its signal aborts at its timeout and when the run is interrupted. */
export async function runAttempt(spec: StepSpec, options: AttemptOptions): Promise<AttemptOutcome> {
  const { control, attempt, idempotencyKey, timeoutMs } = options
  const abort = new AbortController()
  const onInterrupt = () => abort.abort(control.signal.reason)
  control.signal.addEventListener('abort', onInterrupt, { once: true })
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new AppError('STEP_TIMEOUT', `step ${spec.name} took longer than ${timeoutMs} ms`)
      abort.abort(error)
      reject(error)
    }, timeoutMs)
  })
  try {
    const working = spec.execute({ signal: abort.signal, attempt, idempotencyKey })
    return { kind: 'done', result: working instanceof Promise ? await Promise.race([working, timedOut]) : working }
  } catch (error) {
    return { kind: 'failed', error, retryable: isRetryable(error) }
  } finally {
    clearTimeout(timer)
    control.signal.removeEventListener('abort', onInterrupt)
  }
}

/** Anything may be worth another try but what says that it is not: our terminal errors, and wrong programs. */
function isRetryable(error: unknown): boolean {
  if (error instanceof AppError) return error.kind === 'retryable'
  return !(error instanceof TypeError || error instanceof ReferenceError || error instanceof SyntaxError)
}
