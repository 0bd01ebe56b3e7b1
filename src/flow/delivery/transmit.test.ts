import { expect, it } from 'vitest'
import { retryAfterMsOf } from './transmit.ts'

const date = 'Sat, 31 Jan 2026 08:00:00 GMT'

it.each([
  ['in seconds', { 'retry-after': '120' }, 120_000],
  ['as a time, by the endpoint’s clock', { 'retry-after': 'Sat, 31 Jan 2026 08:02:00 GMT', date }, 120_000],
  ['at most an hour', { 'retry-after': '9'.repeat(400) }, 3_600_000],
  ['a time that has passed', { 'retry-after': 'Sat, 31 Jan 2026 07:00:00 GMT', date }, 0],
  ['a time without a clock', { 'retry-after': 'Sat, 31 Jan 2026 08:02:00 GMT' }, 0],
  ['below zero', { 'retry-after': '-5' }, 0],
  ['what is neither', { 'retry-after': 'soon', date }, 0],
  ['not at all', {}, 0],
])('an endpoint may say when it wants to be tried again: %s', (_, headers, ms) => {
  expect(retryAfterMsOf(headers)).toBe(ms)
})
