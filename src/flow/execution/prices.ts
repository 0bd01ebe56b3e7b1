import { z } from 'zod'
import type { JsonObject } from '../../foundation/json.ts'
import { costOfTokens, nanoFromUsd } from '../../foundation/money.ts'
import { limits } from '../../limits.ts'
import type { ModelCall } from './skills/skills.ts'

const usdPerMillion = z.number().min(0).max(limits.usdMax)

/** The schema of `prices` in the configuration: by the name under which the provider knows the model. */
export const pricesSchema = z.record(
  z.string(),
  z.strictObject({
    inputUsdPerMillion: usdPerMillion,
    outputUsdPerMillion: usdPerMillion,
    /** The day since which the price holds, as in `2026-01-31`. */
    from: z.iso.date(),
  }),
)

/** What a model costs, in US dollars per million tokens. */
export type Price = z.output<typeof pricesSchema>[string]
export type Prices = Readonly<Record<string, Price>>

/** List prices of some well-known models, without caching and batch rebates, each with the day since which it holds. */
export const defaultPrices: Prices = Object.freeze({
  'gpt-4o': price(2.5, 10, '2024-10-02'),
  'gpt-4o-2024-05-13': price(5, 15, '2024-05-13'),
  'gpt-4o-mini': price(0.15, 0.6, '2024-07-18'),
  'gpt-4.1': price(2, 8, '2025-04-14'),
  'gpt-4.1-mini': price(0.4, 1.6, '2025-04-14'),
  'gpt-4.1-nano': price(0.1, 0.4, '2025-04-14'),
  o3: price(2, 8, '2025-06-10'),
  'o4-mini': price(1.1, 4.4, '2025-04-16'),
  'gpt-5': price(1.25, 10, '2025-08-07'),
  'gpt-5-mini': price(0.25, 2, '2025-08-07'),
  'gpt-5-nano': price(0.05, 0.4, '2025-08-07'),
  'claude-3-7-sonnet': price(3, 15, '2025-02-24'),
  'claude-sonnet-4': price(3, 15, '2025-05-22'),
  'claude-opus-4': price(15, 75, '2025-05-22'),
  'claude-sonnet-4-5': price(3, 15, '2025-09-29'),
  'claude-haiku-4-5': price(1, 5, '2025-10-15'),
})

// Providers name a model with the day of its release, as in gpt-4o-2024-08-06 and claude-sonnet-4-20250514.
const RELEASE = /-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$/

/**
 * Returns the model's price, or undefined where none is known: such a step is uncosted, which is not the same as free.
 * A configured price wins over the shipped one; a name with the day of a release falls back to the name without it.
 */
export function priceOf(model: string, configured: Prices = {}): Price | undefined {
  for (const name of [model, model.replace(RELEASE, '')]) {
    for (const prices of [configured, defaultPrices]) if (Object.hasOwn(prices, name)) return prices[name]
  }
  return undefined
}

export interface CallCost {
  /** Null where the price or one of the counts is not known. */
  readonly costNanoUsd: bigint | null
  /** The call's attributes and the price that was used: prices change, what a run cost does not. */
  readonly attributes: JsonObject
}

/** Returns what the call cost, by the model that answered or, if that has no price, the one that was asked for. */
export function costOf(call: ModelCall, configured?: Prices): CallCost {
  const { tokensIn, tokensOut, attributes } = call
  const price = priceOf(call.model, configured) ?? priceOf(call.requestedModel, configured)
  if (!price || tokensIn === null || tokensOut === null) return { costNanoUsd: null, attributes }
  const { inputUsdPerMillion, outputUsdPerMillion, from } = price
  const nanoPerMillion = {
    nanoPerMillionIn: nanoFromUsd(inputUsdPerMillion),
    nanoPerMillionOut: nanoFromUsd(outputUsdPerMillion),
  }
  return {
    costNanoUsd: costOfTokens({ tokensIn, tokensOut }, nanoPerMillion),
    attributes: {
      ...attributes,
      'concordat.price.input_usd_per_million': inputUsdPerMillion,
      'concordat.price.output_usd_per_million': outputUsdPerMillion,
      'concordat.price.from': from,
    },
  }
}

function price(inputUsdPerMillion: number, outputUsdPerMillion: number, from: string): Price {
  return Object.freeze({ inputUsdPerMillion, outputUsdPerMillion, from })
}
