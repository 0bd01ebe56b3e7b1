import { describe, expect, it } from 'vitest'
import { type JsonLimit, parseJson, stringifyJson } from './json.ts'

const limit: JsonLimit = { bytesMax: 10_000, what: 'output of step fetch', tooLargeCode: 'OUTPUT_TOO_LARGE' }
const failsWith = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })

describe('a value to be kept', () => {
  const cycle: Record<string, unknown> = { a: 1 }
  cycle.left = { back: cycle }
  cycle.right = [cycle, cycle]

  it.each([
    ['a function', { a: [1, { run: () => {} }] }, /holds a function at a\.1\.run$/],
    ['a bigint', [1n], /holds a bigint at 0$/],
    ['a symbol', Symbol('x'), /holds a symbol$/],
    ['NaN', { a: Number.NaN }, /holds NaN at a$/],
    ['an infinity', { a: Number.NEGATIVE_INFINITY }, /holds -Infinity at a$/],
    ['a Map', { seen: new Map() }, /holds a Map at seen$/],
    ['a Set', new Set([1]), /holds a Set$/],
    ['a cycle', cycle, /levels, or a cycle$/],
    ['a toJSON that fails', { toJSON: () => 1n }, /cannot be kept as JSON$/],
  ])('may not hold %s', (_name, value, message) => {
    expect(() => stringifyJson(value, limit)).toThrow(failsWith('NOT_SERIALIZABLE', message))
  })

  it('may not be nested more than 2,000 levels, and the check does not overflow', () => {
    let value: unknown = 1
    for (let level = 0; level < 1_000_000; level++) value = [value]
    expect(() => stringifyJson(value, limit)).toThrow(failsWith('NOT_SERIALIZABLE', /2000 levels/))
  })

  it('may not be larger than its bound, in bytes', () => {
    expect(stringifyJson('\u00e9'.repeat(4_999), limit).sizeBytes).toBe(10_000)
    expect(() => stringifyJson('\u00e9'.repeat(5_000), limit)).toThrow(
      failsWith('OUTPUT_TOO_LARGE', /^The output of step fetch has 10002 bytes; at most 10000 bytes are allowed$/),
    )
    expect(() => stringifyJson(new Array(4_000_000_000), limit)).toThrow(failsWith('OUTPUT_TOO_LARGE', /list of/))
  })

  it('is refused early when a small graph unfolds into a huge text', () => {
    let value: unknown = 'x'
    for (let level = 0; level < 60; level++) value = [value, value]
    expect(() => stringifyJson(value, limit)).toThrow(failsWith('OUTPUT_TOO_LARGE', /more than 10000 values/))
  })

  it('may hold the same object twice', () => {
    const shared = { a: 1 }
    expect(stringifyJson([shared, shared], limit).text).toBe('[{"a":1},{"a":1}]')
  })
})

describe('a stored text', () => {
  it('that is not JSON is refused by name', () => {
    expect(() => parseJson('{', 'input')).toThrow(failsWith('INVALID_INPUT', /^The input is not JSON$/))
  })
})
