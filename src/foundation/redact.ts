import { limits } from '../limits.ts'
import { serializeError } from './app-error.ts'

const REDACTED = '[redacted]'

// Not a plain "token": tokensIn is a number that people want to read, leaseToken a fencing counter.
const SECRET_KEY =
  /password|passwd|secret|authorization|cookie|credential|private_?key|api[-_]?key|(access|auth|refresh|session|bearer)[-_]?token|^token$/i
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/?#@]*):[^\s/?#]*@/gi
const BEARER = /\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi
const KEY_IN_TEXT = /\b(cdk_|sk-)[\w-]{8,}/g

/** Returns the text without passwords in URLs, bearer tokens and API keys. */
export function redactText(text: string): string {
  return text
    .replace(URL_PASSWORD, `$1:${REDACTED}@`)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(KEY_IN_TEXT, `$1${REDACTED}`)
}

/**
 * Returns a copy of the value that is safe to log: what stands under a key such as `password`, `authorization` or
 * `apiKey` is replaced whole, secrets inside strings are cut out, errors become plain data, bigints their digits.
 * Nesting below `limits.logDepthMax` levels is left out.
 */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return value
  if (depth >= limits.logDepthMax) return '[…]'
  if (value instanceof Error) return redact({ ...serializeError(value), cause: value.cause }, depth)
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, SECRET_KEY.test(key) ? REDACTED : redact(item, depth + 1)]),
  )
}
