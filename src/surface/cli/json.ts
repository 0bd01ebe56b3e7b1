import { escapeDisguises } from './terminal.ts'

/**
 * JSON for tools: dates in ISO 8601, bigints as numbers where they are exact and as text where not. What could forge
 * what a screen shows is written as escapes, which mean the same.
 */
export function toJson(value: unknown): string {
  return escapeDisguises(
    JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? exact(member) : member), 2),
  )
}

/** The same on one line. */
export function toJsonLine(value: unknown): string {
  return escapeDisguises(JSON.stringify(value))
}

function exact(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
}
