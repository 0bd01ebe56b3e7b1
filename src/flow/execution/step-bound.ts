import type { LlmRequest, StepOptions } from '../../domains/agents/agents.ts'
import { AppError } from '../../foundation/app-error.ts'
import { costOfTokens, nanoFromUsd } from '../../foundation/money.ts'
import { limits } from '../../limits.ts'
import { type Prices, priceOf } from './prices.ts'

/** The most that a step may use, as far as anybody knows before it runs. Null: nobody does. */
export interface StepBound {
  readonly tokens: number | null
  readonly costNanoUsd: bigint | null
}

interface KnownUsage {
  readonly tokensIn?: number | null
  readonly tokensOut?: number | null
  readonly costNanoUsd?: bigint | null
}

const NOTHING_KNOWN: StepBound = Object.freeze({ tokens: null, costNanoUsd: null })

/** What the step's own code promises not to exceed. Fails with `INVALID_REQUEST` for what is no amount. */
export function declaredBound({ maxCostUsd, maxTokens }: StepOptions): StepBound | undefined {
  if (maxCostUsd === undefined && maxTokens === undefined) return undefined
  const inRange = (value: number, max: number) => value >= 0 && value <= max
  if (maxCostUsd !== undefined && !inRange(maxCostUsd, limits.usdMax)) {
    throw new AppError('INVALID_REQUEST', `a step's maxCostUsd is 0 to ${limits.usdMax}, not ${maxCostUsd}`)
  }
  if (maxTokens !== undefined && !(Number.isSafeInteger(maxTokens) && maxTokens >= 0)) {
    throw new AppError('INVALID_REQUEST', `a step's maxTokens is a whole number from 0, not ${maxTokens}`)
  }
  return { tokens: maxTokens ?? null, costNanoUsd: maxCostUsd === undefined ? null : nanoFromUsd(maxCostUsd) }
}

/** English has 4 bytes a token, other languages down to 2; what a provider adds around a prompt is some tokens more. */
const BYTES_PER_TOKEN = 3
const FRAME_TOKENS = 16

/**
 * Pure. What a model call may use: the prompt's length tells what goes in, `maxOutputTokens` what comes out, 4,096 where
 * it is left out. No price is known: no cost either.
 */
export function estimatedBound({ model, prompt, system = '', maxOutputTokens }: LlmRequest, prices: Prices): StepBound {
  const tokensIn = Math.ceil((Buffer.byteLength(prompt) + Buffer.byteLength(system)) / BYTES_PER_TOKEN) + FRAME_TOKENS
  const tokensOut = maxOutputTokens ?? limits.outputTokensAssumed
  const price = priceOf(model.modelId, prices)
  const costNanoUsd = price
    ? costOfTokens(
        { tokensIn, tokensOut },
        {
          nanoPerMillionIn: nanoFromUsd(price.inputUsdPerMillion),
          nanoPerMillionOut: nanoFromUsd(price.outputUsdPerMillion),
        },
      )
    : null
  return { tokens: tokensIn + tokensOut, costNanoUsd }
}

/** Of a step that happened elsewhere: what it used is known. */
export function knownBound({ tokensIn, tokensOut, costNanoUsd }: KnownUsage): StepBound {
  const noTokens = (tokensIn ?? null) === null && (tokensOut ?? null) === null
  return { tokens: noTokens ? null : (tokensIn ?? 0) + (tokensOut ?? 0), costNanoUsd: costNanoUsd ?? null }
}

/** What the code declares wins over what is estimated, amount by amount. */
export function boundOf(declared: StepBound | undefined, estimate: (() => StepBound) | undefined): StepBound {
  if (declared && declared.tokens !== null && declared.costNanoUsd !== null) return declared
  const estimated = estimate?.() ?? NOTHING_KNOWN
  return {
    tokens: declared?.tokens ?? estimated.tokens,
    costNanoUsd: declared?.costNanoUsd ?? estimated.costNanoUsd,
  }
}
