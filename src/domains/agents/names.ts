import { AppError } from '../../foundation/app-error.ts'
import { slipsBetween } from '../../foundation/near-names.ts'
import { limits } from '../../limits.ts'

const CONTROL_OR_LONE_SURROGATE = /[\p{Cc}\p{Surrogate}]/u
const KNOWN_NAMES_MAX = 50

/**
 * Returns the name if it can stand in tables, logs and on screens: 1 to 200 characters, no control characters, no lone
 * surrogates; slashes, brackets and blanks are fine. Fails with `INVALID_INPUT`.
 */
export function checkName(what: string, name: string): string {
  if (typeof name === 'string' && name.length > 0 && name.length <= limits.stepNameCharsMax) {
    if (!CONTROL_OR_LONE_SURROGATE.test(name)) return name
  }
  const shown = JSON.stringify(name)?.slice(0, limits.stepNameCharsMax)
  throw new AppError('INVALID_INPUT', `The ${what} ${shown} is not a name`, {
    hint: `Use 1 to ${limits.stepNameCharsMax} characters without control characters.`,
  })
}

/** Returns `known: "a", "b"`, the names most like the wanted one first, 50 at most: the end of a "there is no" message. */
export function knownNames(wanted: string, known: Iterable<string>): string {
  const byDistance = [...new Set(known)]
    .map((name) => ({ name, distance: slipsBetween(wanted, name) }))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
  if (byDistance.length === 0) return 'none is known'
  const shown = byDistance.slice(0, KNOWN_NAMES_MAX).map(({ name }) => JSON.stringify(name))
  const more = byDistance.length - shown.length
  return `known: ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
