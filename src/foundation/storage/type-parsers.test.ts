import pg from 'pg'
import { expect, it } from 'vitest'
import { typeParsers } from './type-parsers.ts'

const TIMESTAMPTZ = 1184

it.each([
  '2026-11-22 09:37:55.748+00',
  '2026-11-22 09:37:55+00',
  '1969-12-31 23:59:59.999999+00',
  '2024-02-29 00:00:00.1+00',
  '2026-11-22 09:37:55.748+02:30',
  '0044-03-15 12:00:00+00 BC',
  '12026-01-01 00:00:00+00',
  'infinity',
  '-infinity',
])('a time reads as the driver reads it: %s', (text) => {
  const read = typeParsers.getTypeParser(TIMESTAMPTZ, 'text') as (text: string) => unknown
  expect(read(text)).toEqual((pg.types.getTypeParser(TIMESTAMPTZ, 'text') as (text: string) => unknown)(text))
})
