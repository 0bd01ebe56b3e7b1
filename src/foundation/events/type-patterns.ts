import { eventTypes } from './event-types.ts'

/** A word is taken for a slip of another one up to so many of its letters. */
const SLIPS_SHARE = 0.4
/** What is longer is no slip of a type's name. */
const SLIP_CHARS_MAX = 100

/** Whether a type is meant by an exact one, a prefix as in `audit.*`, or `*`. */
export function typeMatcher(pattern: string): (type: string) => boolean {
  if (pattern === '*') return () => true
  if (!pattern.endsWith('.*')) return (type) => type === pattern
  const prefix = pattern.slice(0, -1)
  return (type) => type.startsWith(prefix)
}

/** Says that no event is meant by the pattern, and which one may have been; null: some are. */
export function meansNothing(pattern: string): string | null {
  const types = Object.keys(eventTypes)
  if (types.some(typeMatcher(pattern))) return null
  const none = `no event has the type ${JSON.stringify(pattern.slice(0, SLIP_CHARS_MAX))}`
  if (pattern.length > SLIP_CHARS_MAX) return none
  const prefixes = types.flatMap((type) =>
    type.split('.').flatMap((_, i, parts) => (i > 0 ? [`${parts.slice(0, i).join('.')}.*`] : [])),
  )
  const [nearest] = [...new Set([...types, ...prefixes])]
    .map((known) => ({ known, slips: slipsBetween(pattern.toLowerCase(), known) }))
    .toSorted((a, b) => a.slips - b.slips)
  const isNear = nearest && nearest.slips <= nearest.known.length * SLIPS_SHARE
  return isNear ? `${none}: did you mean ${nearest.known}?` : none
}

/** Levenshtein's distance: letters to put in, to leave out or to exchange. */
function slipsBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const exchanged = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1)
      next.push(Math.min(exchanged, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[other.length] ?? 0
}
