import { AppError, toAppError } from '../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { type PayloadCodec, safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { DeliveredSignal, Lease, RunOrchestrationKernel } from '../kernel/kernel.ts'

/** What a step waits for. */
export interface SignalSpec {
  readonly timeoutMs: number
  /** JSON Schema, for whoever sends one; null: anything fits. */
  readonly schema: JsonObject | null
  /** Fails unless the payload fits. */
  readonly check: (payload: Json) => void
}

export interface WaitingStep {
  readonly lease: Lease
  readonly stepKey: string
  readonly name: string
  readonly dueAt: Date
  readonly signal: SignalSpec
}

export type WaitAnswer =
  | { readonly kind: 'signal'; readonly signal: DeliveredSignal; readonly payload: Json }
  | { readonly kind: 'timed_out'; readonly error: AppError }
  | { readonly kind: 'none'; readonly seen: number }

/** The waits of one run for signals. */
export class SignalWaits {
  readonly #kernel: Pick<RunOrchestrationKernel, 'awaitSignal' | 'refuseSignal'>
  readonly #codec: PayloadCodec
  #last: Promise<unknown> = Promise.resolve()

  constructor(kernel: Pick<RunOrchestrationKernel, 'awaitSignal' | 'refuseSignal'>, codec: PayloadCodec) {
    this.#kernel = kernel
    this.#codec = codec
  }

  /** One wait after the other is opened, so that the first of two for one name gets the first signal. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** Looks for the step's signal. One that does not fit is refused, and the next one is looked at. */
  async look(step: WaitingStep): Promise<WaitAnswer> {
    const { lease, stepKey, name, dueAt, signal } = step
    const schema = signal.schema && JSON.stringify(signal.schema)
    const occurrence = Number(stepKey.slice(name.length + 1))
    for (let lastRefusal: string | null = null; ; ) {
      const found = await this.#kernel.awaitSignal({ lease, stepKey, name, occurrence, schema, dueAt })
      if (found.kind === 'timed_out') return { kind: 'timed_out', error: timedOut(step, lastRefusal) }
      if (found.kind === 'none') return found
      const payload = this.#codec.decode(found.payload)
      const misfit = misfitOf(signal, payload)
      if (!misfit) return { kind: 'signal', signal: found, payload }
      lastRefusal = safeText(misfit.message, limits.errorMessageCharsMax)
      await this.#kernel.refuseSignal(lease, found.number, lastRefusal)
    }
  }
}

function timedOut({ stepKey, signal }: WaitingStep, lastRefusal: string | null): AppError {
  const refused = lastRefusal === null ? '' : `; the last one did not fit: ${lastRefusal}`
  return new AppError('WAIT_TIMED_OUT', `step ${stepKey} waited ${signal.timeoutMs} ms for a signal${refused}`)
}

function misfitOf({ check }: SignalSpec, payload: Json): AppError | null {
  try {
    check(payload)
    return null
  } catch (error) {
    return toAppError(error)
  }
}
