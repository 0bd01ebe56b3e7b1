/** What a name may differ by from the one that is meant, as a share of that one's letters. */
const SLIPS_SHARE = 0.4
/** A longer one is no slip of the hand, and comparing it takes long. */
const CHARS_MAX = 200

/** Pure. The known name that was probably meant, whatever its capitals are; null where none is like it. */
export function nearestName(wanted: string, known: readonly string[]): string | null {
  if (wanted.length > CHARS_MAX) return null
  const [nearest] = known
    .map((name) => ({ name, slips: isBegun(name, wanted) ? 1 : slipsBetween(wanted, name) }))
    .toSorted((a, b) => a.slips - b.slips)
  return nearest && nearest.slips <= nearest.name.length * SLIPS_SHARE ? nearest.name : null
}

/** A name of which the rest was left out, as in `cost` for `cost_usd`. */
function isBegun(name: string, wanted: string): boolean {
  return wanted.length >= 3 && name.startsWith(`${wanted.toLowerCase()}_`)
}

/** Pure. Levenshtein's distance without capitals, of 200 characters at most: letters to put in, leave out or exchange. */
export function slipsBetween(one: string, other: string): number {
  const left = one.toLowerCase().slice(0, CHARS_MAX)
  const right = other.toLowerCase().slice(0, CHARS_MAX)
  let row = Array.from({ length: right.length + 1 }, (_, i) => i)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const exchanged = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1)
      next.push(Math.min(exchanged, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[right.length] ?? 0
}
