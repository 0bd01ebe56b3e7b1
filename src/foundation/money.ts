import { limits } from '../limits.ts'
import { AppError } from './app-error.ts'

/** Money is a count of nano-US-dollars: integers add up exactly in any order, fractions do not. */
const NANO_PER_USD = 1_000_000_000n

const DECIMAL = /^(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i
const DECIMAL_CHARS_MAX = 400 // the longest text of a number has 22; a price list may be more precise, but not a novel

/**
 * Returns the amount in nano-dollars, rounded half to even once, from the shortest decimal text of a number or from a
 * text such as `0.0021` or `2.1e-3`. Fails with `INVALID_INPUT` for what is negative, not a number, or over a billion.
 */
export function nanoFromUsd(usd: number | string): bigint {
  const text = String(usd)
  const match = text.length <= DECIMAL_CHARS_MAX ? DECIMAL.exec(text) : null
  const [, whole = '', fraction = '', exponentText = '0'] = match ?? []
  const exponent = Number(exponentText)
  if (!match || Math.abs(exponent) > DECIMAL_CHARS_MAX) throw invalidAmount(text)

  const digits = BigInt(whole + fraction) * NANO_PER_USD
  const shift = exponent - fraction.length
  const nano = shift >= 0 ? digits * 10n ** BigInt(shift) : divideHalfEven(digits, 10n ** BigInt(-shift))
  if (nano > BigInt(limits.usdMax) * NANO_PER_USD) throw invalidAmount(text)
  return nano
}

/** Returns the amount as the nearest number of dollars: for showing and for JSON, not for adding up. */
export function usdFromNano(nano: bigint): number {
  return Number(decimalText(nano))
}

/** Returns the amount for people: `$1.50`, `$0.000021`; every digit that counts, two decimals at the least. */
export function formatUsd(nano: bigint): string {
  const text = decimalText(nano < 0n ? -nano : nano).replace(/(\.\d\d\d*?)0+$/, '$1')
  return `${nano < 0n ? '-' : ''}$${text}`
}

export interface TokenCounts {
  readonly tokensIn: number
  readonly tokensOut: number
}

/** What a model costs, in nano-dollars per million tokens. */
export interface TokenPrice {
  readonly nanoPerMillionIn: bigint
  readonly nanoPerMillionOut: bigint
}

/** Returns the cost in nano-dollars, rounded half to even once, over both directions together. */
export function costOfTokens({ tokensIn, tokensOut }: TokenCounts, price: TokenPrice): bigint {
  for (const tokens of [tokensIn, tokensOut]) {
    if (!Number.isSafeInteger(tokens) || tokens < 0) throw new AppError('INVALID_INPUT', `Not a token count: ${tokens}`)
  }
  return divideHalfEven(
    BigInt(tokensIn) * price.nanoPerMillionIn + BigInt(tokensOut) * price.nanoPerMillionOut,
    1_000_000n,
  )
}

function divideHalfEven(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor
  const doubledRest = (dividend % divisor) * 2n
  const roundsUp = doubledRest > divisor || (doubledRest === divisor && quotient % 2n === 1n)
  return roundsUp ? quotient + 1n : quotient
}

function decimalText(nano: bigint): string {
  const digits = (nano < 0n ? -nano : nano).toString().padStart(10, '0')
  return `${nano < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`
}

function invalidAmount(text: string): AppError {
  return new AppError('INVALID_INPUT', `Not an amount in US dollars: ${JSON.stringify(text.slice(0, 50))}`, {
    hint: `Give a decimal number from 0 to ${limits.usdMax}.`,
  })
}
