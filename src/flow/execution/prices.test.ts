import { describe, expect, test } from 'vitest'
import { costOf, defaultPrices, priceOf, pricesSchema } from './prices.ts'

const own = { 'my-model': { inputUsdPerMillion: 2, outputUsdPerMillion: 4, from: '2026-01-01' } }
const call = { result: { text: '', finishReason: 'stop' }, attributes: { a: 1 }, requestedModel: 'my-model' }

describe('the price of a model', () => {
  test('is the shipped one, with the day since which it holds', () => {
    expect(priceOf('gpt-4o-mini')).toEqual({ inputUsdPerMillion: 0.15, outputUsdPerMillion: 0.6, from: '2024-07-18' })
  })

  test.each([
    ['gpt-4.1-2025-04-14', 'gpt-4.1'],
    ['claude-sonnet-4-20250514', 'claude-sonnet-4'],
    ['claude-3-7-sonnet-latest', 'claude-3-7-sonnet'],
  ])('%s is that of %s', (release, model) => {
    expect(priceOf(release)).toBe(defaultPrices[model])
  })

  test('of a release that was priced otherwise is its own', () => {
    expect(priceOf('gpt-4o-2024-05-13')).toMatchObject({ inputUsdPerMillion: 5 })
  })

  test('is the configured one before the shipped one', () => {
    const configured = { 'gpt-4o': own['my-model'] }
    expect(priceOf('gpt-4o', configured)).toBe(own['my-model'])
    expect(priceOf('gpt-4o-2024-08-06', configured)).toBe(own['my-model'])
  })

  test.each(['scripted', 'gpt-4o-audio', '', 'constructor', '__proto__'])(
    '%j is unknown, which is not zero',
    (model) => {
      expect(priceOf(model)).toBeUndefined()
    },
  )
})

describe('a priced call', () => {
  test('costs its tokens, and keeps the price that was used', () => {
    expect(costOf({ ...call, model: 'my-model', tokensIn: 1_000, tokensOut: 500 }, own)).toEqual({
      costNanoUsd: 4_000_000n,
      attributes: {
        a: 1,
        'concordat.price.input_usd_per_million': 2,
        'concordat.price.output_usd_per_million': 4,
        'concordat.price.from': '2026-01-01',
      },
    })
  })

  test('falls back to the model that was asked for', () => {
    expect(costOf({ ...call, model: 'served-7', tokensIn: 1, tokensOut: 0 }, own).costNanoUsd).toBe(2_000n)
  })

  test.each([
    ['the price', { model: 'x', requestedModel: 'y', tokensIn: 1, tokensOut: 1 }],
    ['a count', { model: 'my-model', tokensIn: null, tokensOut: 1 }],
  ])('has no cost where %s is unknown', (_what, fields) => {
    expect(costOf({ ...call, ...fields }, own)).toEqual({ costNanoUsd: null, attributes: { a: 1 } })
  })
})

test('the shipped prices fit the schema of configured ones', () => {
  expect(pricesSchema.parse({ ...defaultPrices })).toEqual(defaultPrices)
  expect(
    pricesSchema.safeParse({ m: { inputUsdPerMillion: -1, outputUsdPerMillion: 1, from: '2026-01-01' } }).success,
  ).toBe(false)
  expect(pricesSchema.safeParse({ m: { inputUsdPerMillion: 1, outputUsdPerMillion: 1, from: 'soon' } }).success).toBe(
    false,
  )
})
