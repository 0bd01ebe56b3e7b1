import { limits } from '../limits.ts'
import { type ErrorCode, type ErrorKind, errorCodes } from './error-codes.ts'

export { type ErrorCode, type ErrorKind, errorCodes } from './error-codes.ts'

/** What a detail of an error may hold: plain data, so that it can be logged, stored and sent. */
export type ErrorDetail =
  | string
  | number
  | boolean
  | null
  | readonly ErrorDetail[]
  | { readonly [key: string]: ErrorDetail }

export interface AppErrorOptions {
  /** Replaces the code's own hint. */
  readonly hint?: string
  /** Replaces the code's own kind. */
  readonly kind?: ErrorKind
  readonly cause?: unknown
  readonly details?: Readonly<Record<string, ErrorDetail>>
}

/**
 * An error that says what to do: a code from the reference page, whether a retry can help, and a hint. Expected
 * outcomes are not errors but values; this is for what must not happen.
 */
export class AppError extends Error {
  override name = 'AppError'
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly hint: string
  readonly details?: Readonly<Record<string, ErrorDetail>>

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.kind = options.kind ?? errorCodes[code].kind
    this.hint = options.hint ?? errorCodes[code].hint
    if (options.details) this.details = options.details
  }
}

/** An error as plain data, bounded, fit to be stored as JSON. `code` may be foreign, as in `ECONNREFUSED`. */
export interface SerializedError {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly kind?: ErrorKind
  readonly hint?: string
  readonly details?: Readonly<Record<string, ErrorDetail>>
  readonly stack?: string
}

/** Returns an `AppError` unchanged, anything else as `INTERNAL` with its message (cut) and itself as the cause. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError('INTERNAL', cut(messageOf(thrown), limits.errorMessageCharsMax), { cause: thrown })
}

/** Returns whatever was thrown as plain data; message and stack are cut to 8,192 characters each. Never throws. */
export function serializeError(thrown: unknown): SerializedError {
  const message = cut(messageOf(thrown), limits.errorMessageCharsMax)
  if (!(thrown instanceof Error)) return { name: 'Error', message }
  const stack = thrown.stack ? { stack: cut(thrown.stack, limits.errorStackCharsMax) } : {}
  const name = cut(String(thrown.name), limits.stepNameCharsMax)
  if (thrown instanceof AppError) {
    const { code, kind, hint, details } = thrown
    return {
      name,
      message,
      code,
      kind,
      hint: cut(hint, limits.errorMessageCharsMax),
      ...(details && { details }),
      ...stack,
    }
  }
  const code = 'code' in thrown && typeof thrown.code === 'string' ? { code: cut(thrown.code, 100) } : {}
  return { name, message, ...code, ...stack }
}

/** Returns the error that was serialized: an `AppError` if its code is ours, else an `Error` of the same name. */
export function deserializeError(stored: SerializedError): Error {
  const { name, message, code, stack } = stored
  const error = isErrorCode(code)
    ? new AppError(code, message, stored)
    : Object.assign(new Error(message), code && { code })
  error.name = name
  if (stack !== undefined) error.stack = stack
  return error
}

/** The exit code of a command that ends with this error: 1 the work failed, 2 usage, 3 configuration, 4 unreachable. */
export function exitCodeOf(thrown: unknown): 1 | 2 | 3 | 4 {
  const entry = errorCodes[toAppError(thrown).code]
  return 'exitCode' in entry ? entry.exitCode : 1
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(errorCodes, code)
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return String(thrown.message) || thrown.name
  try {
    return typeof thrown === 'object' ? JSON.stringify(thrown) : String(thrown)
  } catch {
    return 'a value that cannot be shown was thrown'
  }
}

function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`
}
