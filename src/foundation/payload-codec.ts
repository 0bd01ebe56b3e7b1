import { hash } from 'node:crypto'
import { limits } from '../limits.ts'
import { type Json, type JsonLimit, parseJson, stringifyJson } from './json.ts'

export interface EncodedPayload {
  /** What is stored: JSON text for a column of type `json`, which unlike `jsonb` keeps NUL and the order of keys. */
  readonly text: string
  readonly sizeBytes: number
  /** SHA-256 in hex over the canonical JSON (RFC 8785): equal for equal values, whatever the order of their keys. */
  readonly digest: string
}

/** Turns values into what is stored and back. A port: encryption, redaction and offloading can come in here. */
export interface PayloadCodec {
  /** Fails as `stringifyJson` does; the bound is 8 MiB unless another is given. */
  encode(value: unknown, limit?: JsonLimit): EncodedPayload
  decode(text: string): Json
}

const DEFAULT_LIMIT: JsonLimit = Object.freeze({
  bytesMax: limits.runInputBytesMax,
  what: 'payload',
  tooLargeCode: 'INPUT_TOO_LARGE',
})

/** What most steps have for input. */
const NULL_PAYLOAD: EncodedPayload = Object.freeze({ text: 'null', sizeBytes: 4, digest: hash('sha256', 'null') })

/** Stores plain JSON text. Strings come back byte for byte, values equal. */
export const identityCodec: PayloadCodec = Object.freeze({
  encode(value: unknown, limit: JsonLimit = DEFAULT_LIMIT): EncodedPayload {
    if (value === null) return NULL_PAYLOAD
    const { text, sizeBytes, keyOrder } = stringifyJson(value, limit)
    // On the path of every step: the canonical text is built only where it differs, and parsed again only where the
    // value itself does not show it.
    if (keyOrder === 'canonical') return { text, sizeBytes, digest: hash('sha256', text) }
    const plain = keyOrder === 'other' ? (value as Json) : parseJson(text)
    return { text, sizeBytes, digest: hash('sha256', canonicalJson(plain)) }
  },
  decode: (text: string): Json => parseJson(text, 'stored payload'),
})

/**
 * Returns the canonical text of RFC 8785: keys sorted by UTF-16 units, no white space, numbers and strings as
 * ECMAScript writes them; `undefined` as JSON treats it. Lone surrogates, which the RFC refuses, are written as `\uXXXX` escapes.
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return String(value ?? null)
  let text = ''
  if (isArray(value)) {
    for (const item of value) text += `${text && ','}${canonicalJson(item)}`
    return `[${text}]`
  }
  for (const key of sorted(Object.keys(value))) {
    const member = value[key]
    if (member !== undefined) text += `${text && ','}${quoted(key)}:${canonicalJson(member)}`
  }
  return `{${text}}`
}

const INSERTED_KEYS_MAX = 16

/** In place. Few by insertion: the runtime's own sort makes a list to work on, and took a quarter of a small object's time. */
function sorted(keys: string[]): string[] {
  if (keys.length > INSERTED_KEYS_MAX) return keys.sort()
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string
    let at = i
    for (let before = keys[at - 1]; before !== undefined && before > key; before = keys[at - 1]) keys[at--] = before
    keys[at] = key
  }
  return keys
}

const NAME = /^\w+$/

function quoted(key: string): string {
  return NAME.test(key) ? `"${key}"` : JSON.stringify(key)
}

const isArray: (value: Json) => value is readonly Json[] = Array.isArray

// With the flag, a surrogate matches only where it is not half of a pair.
const UNSTORABLE = /[\0\p{Surrogate}]/gu

/**
 * Returns the text as a PostgreSQL `text` column can hold it (names, labels, keys, errors): NUL and lone surrogates
 * become visible escapes such as `\u0000`, all else stays; cut to `charsMax` UTF-16 units, never inside a pair.
 */
export function safeText(text: string, charsMax: number): string {
  const escaped = text
    .slice(0, charsMax + 1)
    .replace(UNSTORABLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  if (text.length <= charsMax && escaped.length <= charsMax) return escaped
  const cut = escaped.slice(0, charsMax - 1)
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}
