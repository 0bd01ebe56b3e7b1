import { AppError } from '../app-error.ts'

/**
 * SQLSTATE classes and codes after which the same statement may succeed: connection, shutdown, deadlock, serialization,
 * and that this process stood still for too long.
 */
const RETRYABLE_STATES = /^(08|57P0[1-4]|53|40001|40P01|55P03|25P03)/
const RETRYABLE_SYSTEM = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
])
const RETRYABLE_TEXT =
  /Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|not queryable|database system is/

/** What the driver's pool says after its end. */
const CLOSED_POOL = /Cannot use a pool after calling end/

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? '')
}

/** True when the database could not be reached or asked to be tried again, so that nothing is said about the statement. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof AppError) return error.kind === 'retryable'
  const code = codeOf(error)
  if (RETRYABLE_SYSTEM.has(code) || RETRYABLE_STATES.test(code)) return true
  return error instanceof Error && RETRYABLE_TEXT.test(error.message)
}

/** True when an earlier statement of its transaction had failed: it says nothing about the statement itself. */
export function isAborted(error: AppError): boolean {
  return error.details?.sqlState === '25P02'
}

/** True when a row with the same key is there already. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof AppError && error.details?.sqlState === '23505'
}

/** True when a lock was not to be had within `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof AppError && codeOf(error.cause) === '55P03'
}

/** SQLSTATE of `concordat.require_rows`, of a class that PostgreSQL leaves to applications. */
export const STALE_STATE = 'CC001'

/** True when rows were no longer as a statement's caller knew them, or are there already: to be read again. */
export function isStale(error: unknown): boolean {
  return isUniqueViolation(error) || (error instanceof AppError && error.details?.sqlState === STALE_STATE)
}

/** What to do about a connection that the server refuses for what DATABASE_URL says, by SQLSTATE. */
const REFUSED_CONNECTION: Readonly<Record<string, string>> = {
  '3D000': 'Create the database with `createdb NAME`, or name an existing one in DATABASE_URL.',
  '28000':
    'Create the role with `createuser NAME`, or correct the user in DATABASE_URL; see pg_hba.conf for who may connect.',
  '28P01': 'Correct user and password in DATABASE_URL; `createuser --pwprompt NAME` creates a role that is missing.',
}

/**
 * What a driver's error means to the rest of the program: unreachable (retryable), a DATABASE_URL that the server
 * refuses, or a statement that failed.
 */
export function databaseError(error: unknown): AppError {
  if (error instanceof AppError) return error
  const message = error instanceof Error ? error.message || codeOf(error) : String(error)
  const code = codeOf(error)
  if (isRetryable(error)) {
    return new AppError('DATABASE_UNREACHABLE', `the database did not answer: ${message}`, { cause: error })
  }
  if (CLOSED_POOL.test(message)) {
    return new AppError('RUNTIME_CLOSED', 'the runtime was closed, and its connections to the database with it', {
      cause: error,
    })
  }
  const hint = REFUSED_CONNECTION[code]
  if (hint !== undefined) {
    const named = hint.replace('NAME', () => /"([^"]+)"/.exec(message)?.[1] ?? 'NAME')
    return new AppError('INVALID_CONFIGURATION', `the database refused DATABASE_URL: ${message}`, {
      cause: error,
      hint: named,
      details: { sqlState: code },
    })
  }
  return new AppError('DATABASE_ERROR', message, { cause: error, details: { sqlState: code } })
}
