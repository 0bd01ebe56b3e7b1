import pg from 'pg'

const JSON_OID = 114
const INT8_OID = 20
const TIMESTAMPTZ_OID = 1184

const parseDate = pg.types.getTypeParser(TIMESTAMPTZ_OID, 'text') as (text: string) => Date
/** A time of this age in a session whose time zone is UTC, as ours are. */
const UTC = /^[1-9]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00$/
const MS_AT = 20

/** What the driver makes of it in half the time: every row that a worker reads has some. */
function readTimestamptz(text: string): Date {
  if (!UTC.test(text)) return parseDate(text)
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2)
  const ms = text[MS_AT - 1] === '.' ? Number(text.slice(MS_AT, -3).padEnd(3, '0').slice(0, 3)) : 0
  return new Date(
    Date.UTC(
      year,
      twoDigits(text, 5) - 1,
      twoDigits(text, 8),
      twoDigits(text, 11),
      twoDigits(text, 14),
      twoDigits(text, 17),
      ms,
    ),
  )
}

function twoDigits(text: string, at: number): number {
  return 10 * text.charCodeAt(at) + text.charCodeAt(at + 1) - 11 * 48
}

/**
 * How column types become values: `bigint` for int8 (money and counts must not lose digits), raw text for `json`
 * (payloads are decoded by the payload codec, and only when somebody reads them); the driver's defaults for the rest.
 */
export const typeParsers = {
  getTypeParser(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
    if (oid === INT8_OID) return BigInt
    if (oid === JSON_OID) return (text) => text
    if (oid === TIMESTAMPTZ_OID) return readTimestamptz
    return pg.types.getTypeParser(oid, format as 'text') as (text: string) => unknown
  },
} as unknown as pg.CustomTypesConfig
