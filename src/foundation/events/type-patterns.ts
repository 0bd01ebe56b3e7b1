import { nearestName } from '../near-names.ts'
import { eventTypes } from './event-types.ts'

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
  const nearest = nearestName(pattern, [...new Set([...types, ...prefixes])])
  return nearest === null ? none : `${none}: did you mean ${nearest}?`
}
