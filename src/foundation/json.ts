import { limits } from '../limits.ts'
import { AppError, type ErrorCode } from './app-error.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

export interface JsonLimit {
  /** The largest text in UTF-8 bytes. */
  readonly bytesMax: number
  /** What the value is, for messages: "output of step fetch#2". */
  readonly what: string
  /** The code for a text over the bound. */
  readonly tooLargeCode: ErrorCode
}

export interface JsonText {
  readonly text: string
  readonly sizeBytes: number
  readonly keyOrder: KeyOrder
}

/**
 * `canonical`: all keys came in the order of RFC 8785, so that the text is its own canonical form; `other`: they did
 * not; `unknown`: the value holds more than plain data (a Date, a class instance), which only the text shows as JSON.
 */
export type KeyOrder = 'canonical' | 'other' | 'unknown'

/**
 * Returns the value's JSON text, exact: what JSON would silently drop or change fails with `NOT_SERIALIZABLE` and the
 * place (functions, symbols, bigints, NaN, infinities, Map, Set, cycles, nesting over 2,000 levels). As in JSON, a
 * property that is `undefined` is left out, `toJSON` (Date) is called, and `undefined` itself becomes `null`. Fails
 * with the limit's code when the text is too large.
 */
export function stringifyJson(value: unknown, limit: JsonLimit): JsonText {
  if (typeof value === 'string') return measured(JSON.stringify(value), 'canonical', limit) // by far the most common output
  const keyOrder = inspect(value, limit)
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new AppError('NOT_SERIALIZABLE', `The ${limit.what} cannot be kept as JSON`, { cause })
  }
  return measured(text ?? 'null', keyOrder, limit)
}

/** Returns the value of a JSON text. Fails with `INVALID_INPUT` if it is none. */
export function parseJson(text: string, what = 'text'): Json {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('INVALID_INPUT', `The ${what} is not JSON`, { cause })
  }
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

/**
 * The first integer of a JSON text that JavaScript can't hold as it is written, as `12345678901234567890`; null when
 * there is none. The text is known to be JSON, nested no deeper than may be.
 */
export function inexactInteger(text: string): string | null {
  if (!/\d{16}/.test(text)) return null
  let found: string | null = null
  const look: Reviver = (_key, value, { source }) => {
    if (typeof value === 'number' && source && /^-?\d+$/.test(source) && String(value) !== source) found ??= source
    return value
  }
  JSON.parse(text, look as (key: string, value: unknown) => unknown)
  return found
}

/** Reads texts of which many are the same: each once. What it returns is shared, so nobody may change it. */
export function eachOnce<T>(read: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const before = known.get(text)
    if (before !== undefined) return before
    const value = read(text)
    known.set(text, value)
    return value
  }
}

function measured(text: string, keyOrder: KeyOrder, limit: JsonLimit): JsonText {
  const sizeBytes = Buffer.byteLength(text)
  if (sizeBytes > limit.bytesMax) throw tooLarge(limit, `${sizeBytes} bytes`)
  return { text, sizeBytes, keyOrder }
}

function tooLarge({ tooLargeCode, what, bytesMax }: JsonLimit, size: string): AppError {
  return new AppError(tooLargeCode, `The ${what} has ${size}; at most ${bytesMax} bytes are allowed`)
}

type PropertyBag = { readonly [key: string]: unknown }

interface Place {
  readonly value: PropertyBag
  readonly key: string | number
  readonly parent: Place | undefined
  readonly depth: number
}

/**
 * Walks the value without recursion, before JSON.stringify recurses into it, and tells the order of its keys. It goes
 * deep first, so that a cycle ends at the depth bound; and each value visited costs a byte of text or more, so that a
 * small graph which unfolds into a huge tree ends at the size bound.
 */
function inspect(root: unknown, limit: JsonLimit): KeyOrder {
  let ordered = true
  let plain = true
  let visited = 0
  const open: Place[] = []

  const visit = (value: unknown, key: string | number, parent: Place | undefined) => {
    if (value === undefined || value === null) return
    if (++visited > limit.bytesMax) throw tooLarge(limit, `more than ${limit.bytesMax} values`)
    const type = typeof value
    if (type === 'object')
      open.push({ value: value as PropertyBag, key, parent, depth: parent === undefined ? 1 : parent.depth + 1 })
    else if (type === 'number' ? !Number.isFinite(value) : type !== 'string' && type !== 'boolean') {
      throw notSerializable(type === 'number' ? String(value) : `a ${type}`, key, parent, limit)
    }
  }

  visit(root, '', undefined)
  for (let place = open.pop(); place; place = open.pop()) {
    const { value, key, parent, depth } = place
    if (depth > limits.jsonDepthMax) {
      throw notSerializable(`more than ${limits.jsonDepthMax} levels, or a cycle`, '', undefined, limit)
    }
    if (Array.isArray(value)) {
      if (value.length > limit.bytesMax) throw tooLarge(limit, `a list of ${value.length}`) // empty slots count too
      for (let i = 0; i < value.length; i++) visit(value[i], i, place)
      continue
    }
    if (value instanceof Map || value instanceof Set) {
      throw notSerializable(`a ${value.constructor.name}`, key, parent, limit)
    }
    if (!isPlainObject(value)) plain = false
    if (typeof value.toJSON === 'function') continue // to be called once only, by JSON.stringify
    let previous = ''
    for (const name of Object.keys(value)) {
      if (name < previous) ordered = false // compares UTF-16 units, as RFC 8785 demands
      previous = name
      visit(value[name], name, place)
    }
  }
  if (!plain) return 'unknown'
  return ordered ? 'canonical' : 'other'
}

function isPlainObject(value: PropertyBag): boolean {
  const prototype = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && typeof value.toJSON !== 'function'
}

function notSerializable(found: string, key: string | number, parent: Place | undefined, limit: JsonLimit): AppError {
  const path = [key]
  for (let place = parent; place; place = place.parent) path.unshift(place.key)
  const at = path
    .filter((part) => part !== '')
    .join('.')
    .slice(0, 200)
  return new AppError('NOT_SERIALIZABLE', `The ${limit.what} holds ${found}${at && ` at ${at}`}`)
}
