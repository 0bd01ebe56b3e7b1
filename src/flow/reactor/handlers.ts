import { AppError } from '../../foundation/app-error.ts'
import { type EventEnvelope, typeMatcher } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

export interface HandlerContext {
  /** Aborts when the handler has had its time, or the reactor stops without waiting any longer. */
  readonly signal: AbortSignal
  /** 1 for the first delivery of the event to this handler; higher after a failure. */
  readonly attempt: number
}

export interface TransactionalContext extends HandlerContext {
  /** What is written through it is committed together with the fact that the event is handled: exactly once. */
  readonly tx: Tx
}

export type EventHandler = (event: EventEnvelope, context: HandlerContext) => unknown
export type TransactionalHandler = (event: EventEnvelope, context: TransactionalContext) => unknown

export interface HandlerOptions {
  /** The handler's progress is kept under its name: give one, and keep it. Unnamed ones are called after their type. */
  readonly name?: string
  /** Of the handlers of one event, those with a higher priority run first; 0 unless given. */
  readonly priority?: number
  /** Gives the handler `tx`; what it does elsewhere it must be able to repeat, since a transaction may be tried again. */
  readonly transactional?: boolean
  /** Deliveries of one event before it becomes a dead letter; 5 unless given. */
  readonly attemptsMax?: number
  /** Where a handler of a new name begins: with the oldest event that is kept (`start`, the default), or with what comes next. */
  readonly from?: 'start' | 'now'
}

/** A handler as `concordat.config.ts` lists it. */
export type HandlerDefinition = Omit<HandlerOptions, 'name' | 'transactional'> & {
  /** An event type, a prefix as in `audit.*`, or `*`. */
  readonly type: string
  readonly name: string
} & (
    | { readonly transactional?: false; readonly handle: EventHandler }
    | { readonly transactional: true; readonly handle: TransactionalHandler }
  )

/** The decorator that `on(type)` returns, for methods of classes. */
export type HandlerDecorator = (
  method: EventHandler | TransactionalHandler,
  context: Pick<ClassMethodDecoratorContext, 'name' | 'addInitializer'>,
) => void

/** A registered handler. */
export interface Handler {
  readonly name: string
  readonly type: string
  readonly priority: number
  readonly transactional: boolean
  readonly attemptsMax: number
  readonly from: 'start' | 'now'
  readonly handle: TransactionalHandler
  handles(type: string): boolean
}

const TYPE = /^(\*|[a-z0-9_-]+(\.[a-z0-9_-]+)*(\.\*)?)$/i

/** The handlers of a reactor, the ones with the highest priority first. */
export class Handlers {
  #handlers: readonly Handler[] = []

  get all(): readonly Handler[] {
    return this.#handlers
  }

  get names(): string[] {
    return this.#handlers.map(({ name }) => name).toSorted()
  }

  /** `called` names a handler whose options do not. Fails with `INVALID_REQUEST`: a type that is none, a name that is taken, too many handlers. */
  add(
    type: string,
    handle: EventHandler | TransactionalHandler,
    options: HandlerOptions = {},
    called = (handle as EventHandler | undefined)?.name ?? '',
  ): Handler {
    const { priority = 0, transactional = false, attemptsMax = limits.eventAttemptsMax, from = 'start' } = options
    if (typeof type !== 'string' || type.length > limits.handlerNameCharsMax || !TYPE.test(type)) {
      throw refused(`${JSON.stringify(type)} is no event type, as in run.completed, audit.* or *`)
    }
    if (typeof handle !== 'function') throw refused('it is not a function')
    if (!Number.isInteger(attemptsMax) || attemptsMax < 1) throw refused('attemptsMax is not an integer from 1')
    if (!Number.isFinite(priority)) throw refused('priority is not a number')
    if (typeof transactional !== 'boolean') throw refused('transactional is neither true nor false')
    if (from !== 'start' && from !== 'now') throw refused('from is neither start nor now')
    if (this.#handlers.length >= limits.handlersMax) throw refused(`there are ${limits.handlersMax} handlers already`)
    const name = options.name ?? this.#freeName(called === '' ? type : `${type}:${called}`)
    if (typeof name !== 'string' || name === '' || name.length > limits.handlerNameCharsMax || /\p{Cc}/u.test(name)) {
      throw refused(
        `a handler’s name has 1 to ${limits.handlerNameCharsMax} characters, none of them control characters`,
      )
    }
    if (this.#has(name)) throw refused(`there is a handler ${name} already`)
    const handler: Handler = {
      name,
      type,
      priority,
      transactional,
      attemptsMax,
      from,
      handle: handle as TransactionalHandler,
      handles: typeMatcher(type),
    }
    this.#handlers = [...this.#handlers, handler].toSorted((a, b) => b.priority - a.priority)
    return handler
  }

  #has(name: string): boolean {
    return this.#handlers.some((handler) => handler.name === name)
  }

  /** The same in every process that registers its handlers in the same order. */
  #freeName(name: string): string {
    let free = name
    for (let n = 2; this.#has(free); n++) free = `${name}#${n}`
    return free
  }
}

function refused(why: string): AppError {
  return new AppError('INVALID_REQUEST', `The handler can’t be registered: ${why}`)
}
