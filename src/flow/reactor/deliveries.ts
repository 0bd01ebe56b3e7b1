import { AppError } from '../../foundation/app-error.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { Handler, TransactionalContext } from './handlers.ts'

/** What a handler threw, told apart from what the database did. */
export class HandlerFailure extends Error {
  override name = 'HandlerFailure'

  constructor(cause: unknown) {
    super('A handler failed', { cause })
  }
}

/** Why a delivery that took too long was given up; says nothing about the event. */
export class ReactorStopped extends Error {
  override name = 'ReactorStopped'

  constructor() {
    super('The reactor stops, and waits no longer')
  }
}

/** One delivery as its handler sees it. What costs time is made only for handlers that look at it. */
class Delivery implements TransactionalContext {
  readonly attempt: number
  readonly #tx: Tx | undefined
  #controller: AbortController | undefined
  #over: Error | undefined

  constructor(attempt: number, tx: Tx | undefined) {
    this.attempt = attempt
    this.#tx = tx
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#over) this.#controller.abort(this.#over)
    return this.#controller.signal
  }

  get tx(): Tx {
    const tx = this.#tx
    if (!tx) throw new AppError('INVALID_REQUEST', 'Only a handler with `transactional: true` has a transaction')
    return {
      query: (sql, values) =>
        this.#over
          ? Promise.reject(
              new AppError('INTERNAL', 'A handler used its transaction after it had ended: await its writes'),
            )
          : tx.query(sql, values),
    }
  }

  end(reason: Error): void {
    this.#over = reason
    this.#controller?.abort(reason)
  }
}

const ENDED = new Error('The delivery has ended')

/** Calls handlers, and gives up on those that take too long, or on all when the reactor waits no longer. */
export class Deliveries {
  readonly #waiting = new Set<(error: Error) => void>()

  /**
   * What the handler throws comes as `HandlerFailure`, also that it has taken 30 s. Returns nothing to await if the
   * handler did not.
   */
  call(handler: Handler, event: EventEnvelope, attempt: number, tx?: Tx): Promise<void> | undefined {
    const delivery = new Delivery(attempt, tx)
    let result: unknown
    try {
      result = handler.handle(event, delivery)
    } catch (error) {
      delivery.end(ENDED)
      throw new HandlerFailure(error)
    }
    if (isPromise(result)) return this.#inTime(result, delivery)
    if (tx) delivery.end(ENDED)
    return undefined
  }

  /** Fails all that is under way. */
  abort(reason: Error): void {
    for (const fail of this.#waiting) fail(reason)
  }

  #inTime(result: PromiseLike<unknown>, delivery: Delivery): Promise<void> {
    const timeoutMs = limits.eventHandlerTimeoutMs
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        settle()
        delivery.end(error instanceof Error ? error : ENDED)
        reject(new HandlerFailure(error))
      }
      const timer = setTimeout(() => {
        fail(new AppError('HANDLER_TIMEOUT', `The handler has not ended within ${timeoutMs / 1_000} s`))
      }, timeoutMs)
      const settle = () => {
        clearTimeout(timer)
        this.#waiting.delete(fail)
      }
      this.#waiting.add(fail)
      result.then(() => {
        settle()
        delivery.end(ENDED)
        resolve()
      }, fail)
    })
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
}
