/*
 * PostgreSQL array literals for multi-row statements (https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO). The
 * driver makes them too, with two regular expressions an element; most columns need none.
 */

/** Of values that hold no character with a meaning in a literal: uuids, numbers, ISO times, names of states. */
export function plainArray(values: readonly (string | number | bigint | boolean | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : value)).join(',')}}`
}

/** Of JSON texts. JSON has no raw control characters, so its own escapes are just those of a literal: of " and \. */
export function jsonArray(texts: readonly (string | null)[]): string {
  return `{${texts.map((text) => (text === null ? 'NULL' : JSON.stringify(text))).join(',')}}`
}

const SPECIAL = /["\\]/g

/** Of any text. A text that repeats the one before it, as tenants and names do, is quoted once. */
export function textArray(texts: readonly (string | null)[]): string {
  let last: string | undefined
  let quoted = ''
  const elements = texts.map((text) => {
    if (text === null) return 'NULL'
    if (text !== last) {
      last = text
      quoted = `"${text.replace(SPECIAL, '\\$&')}"`
    }
    return quoted
  })
  return `{${elements.join(',')}}`
}
