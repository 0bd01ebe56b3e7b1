import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { costOfTokens, formatUsd, nanoFromUsd, usdFromNano } from './money.ts'

describe('money', () => {
  it.each([
    ['0', 0n],
    [0.1, 100_000_000n],
    ['1', 1_000_000_000n],
    [2.1e-7, 210n],
    ['1e-9', 1n],
    ['0.0000000005', 0n], // half, to even
    ['0.0000000015', 2n],
    ['0.00000000150001', 2n],
    ['0.00000000249999', 2n],
    [5e-324, 0n],
    ['1E+3', 1_000_000_000_000n],
    ['0.000000000e300', 0n],
    [1_000_000_000, 1_000_000_000_000_000_000n],
  ])('%s dollars are exactly %s nano-dollars', (usd, nano) => {
    expect(nanoFromUsd(usd)).toBe(nano)
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '', ' 1', '1,5', '0x10', '1e99999', '1000000001', '-0.1'])(
    'refuses %s as an amount',
    (usd) => {
      expect(() => nanoFromUsd(usd)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
    },
  )

  it('up to a million dollars survives the way through a number', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), (nano) => {
        expect(nanoFromUsd(usdFromNano(nano))).toBe(nano)
      }),
    )
  })

  it('is shown with every digit that counts', () => {
    expect([0n, 1_500_000_000n, 21_000n, 1n, -2_000_000_000n, 123_456_789n].map(formatUsd)).toEqual([
      '$0.00',
      '$1.50',
      '$0.000021',
      '$0.000000001',
      '-$2.00',
      '$0.123456789',
    ])
  })

  it('prices tokens of both directions and rounds the sum once, half to even', () => {
    const price = { nanoPerMillionIn: 500_000n, nanoPerMillionOut: 1_000_000n }
    expect(costOfTokens({ tokensIn: 1, tokensOut: 1 }, price)).toBe(2n) // 1.5
    expect(costOfTokens({ tokensIn: 1, tokensOut: 0 }, price)).toBe(0n) // 0.5
    expect(costOfTokens({ tokensIn: 1, tokensOut: 2 }, price)).toBe(2n) // 2.5
    const listPrice = { nanoPerMillionIn: nanoFromUsd(3), nanoPerMillionOut: nanoFromUsd(15) }
    expect(formatUsd(costOfTokens({ tokensIn: 1_200, tokensOut: 300 }, listPrice))).toBe('$0.0081')
    expect(() => costOfTokens({ tokensIn: -1, tokensOut: 0 }, price)).toThrow('Not a token count')
    expect(() => costOfTokens({ tokensIn: 0.5, tokensOut: 0 }, price)).toThrow('Not a token count')
  })
})
