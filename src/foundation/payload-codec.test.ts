import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json } from './json.ts'
import { canonicalJson, identityCodec, safeText } from './payload-codec.ts'

const { encode, decode } = identityCodec
const anyText = fc.string({ unit: 'binary' })
const anyUnits = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))
// Through JSON once: JSON has no negative zero.
const anyJson = fc
  .jsonValue({ stringUnit: 'binary', maxDepth: 5 })
  .map((value): Json => JSON.parse(JSON.stringify(value)))

function nested(levels: number): Json {
  let value: Json = 'core'
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { b: value, a: level }
  return value
}

function shuffled(value: Json): Json {
  if (Array.isArray(value)) return value.map(shuffled)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, shuffled(item)]),
  )
}

describe('payloads', () => {
  it('come back equal, whatever they hold', () => {
    const check = (value: Json) => {
      expect(decode(encode(value).text)).toEqual(value)
    }
    fc.assert(fc.property(anyJson, check))
    fc.assert(fc.property(anyText, check))
  })

  it('come back code unit by code unit: NUL, control characters, lone surrogates', () => {
    fc.assert(
      fc.property(anyUnits, (text) => {
        expect(decode(encode({ text }).text)).toEqual({ text })
      }),
    )
    const worst = 'a\0b\ud800c\udc00\u001b\u2028\u{1f600}'
    expect(decode(encode(worst).text)).toBe(worst)
    expect(encode(worst).text).not.toMatch(/[\0\p{Surrogate}]/u) // PostgreSQL takes the text
  })

  it('may be 2 MB large and 1,000 levels deep', () => {
    const large = '\u00e9\0'.repeat(1_000_000)
    const { text, sizeBytes } = encode(large)
    expect(sizeBytes).toBe(Buffer.byteLength(text))
    expect(decode(text)).toBe(large)
    expect(decode(encode(nested(1_000)).text)).toEqual(nested(1_000))
    expect(encode(nested(1_999)).digest).toBe(encode(shuffled(nested(1_999))).digest)
  })

  it('have the same digest for any order of keys: SHA-256 over RFC 8785', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const { digest } = encode(value)
        expect(encode(shuffled(value)).digest).toBe(digest)
        expect(digest).toBe(createHash('sha256').update(canonicalJson(value)).digest('hex'))
      }),
    )
  })

  it('have a digest of what is stored where the value is more than plain data', () => {
    class Page {
      url = 'u'
      at = new Date(0)
    }
    const page = { url: 'u', at: '1970-01-01T00:00:00.000Z' }
    expect(encode(new Page()).digest).toBe(encode(page).digest)
    expect(encode({ b: undefined, a: [undefined] })).toEqual(encode({ a: [null] }))
    expect(encode(undefined)).toEqual(encode(null))
  })
})

describe('canonical JSON', () => {
  it('is the example of RFC 8785', () => {
    const value = {
      // biome-ignore lint/correctness/noPrecisionLoss: the number of the RFC's example
      numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001, -0],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    }
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27,0],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    )
  })

  it('sorts keys by UTF-16 units, numbers among them, and escapes lone surrogates', () => {
    expect(canonicalJson({ '\ufb33': 1, '\u{1f600}': 2, 9: 3, 10: 4, '': 5, '\ud800': 6 })).toBe(
      '{"":5,"10":4,"9":3,"\\ud800":6,"\u{1f600}":2,"\ufb33":1}',
    )
  })
})

describe('text for the database', () => {
  it('shows NUL and lone surrogates as escapes and keeps all else', () => {
    expect(safeText('a\0b\ud83dc\u{1f600}\t', 100)).toBe('a\\u0000b\\ud83dc\u{1f600}\t')
  })

  it('is well formed, free of NUL and within its bound, whatever comes', () => {
    fc.assert(
      fc.property(anyUnits, fc.integer({ min: 1, max: 20 }), (text, charsMax) => {
        const safe = safeText(text, charsMax)
        expect(safe.isWellFormed()).toBe(true)
        expect(safe).not.toContain('\0')
        expect(safe.length).toBeLessThanOrEqual(charsMax)
      }),
    )
  })

  it('is cut with a sign, never inside a surrogate pair', () => {
    expect(safeText('abcdef', 6)).toBe('abcdef')
    expect(safeText('abcdefg', 6)).toBe('abcde…')
    expect(safeText('abcd\u{1f600}g', 6)).toBe('abcd…')
  })
})
