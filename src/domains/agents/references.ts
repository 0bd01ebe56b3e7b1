import { AppError } from '../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'

/** One `{{ … }}` of a plan: a place in the run's input, or in the output of an earlier step. */
export interface Reference {
  /** As it was written, without the braces. */
  readonly text: string
  /** The step's name; null for the run's input. */
  readonly step: string | null
  readonly path: readonly string[]
}

/** What references are resolved against. */
export interface ReferenceScope {
  readonly input: Json
  /** By step name. */
  readonly outputs: ReadonlyMap<string, Json>
}

const REFERENCE_CHARS_MAX = 1_000
const SHOWN_CHARS_MAX = 100
const ROOT = /^(?:input|steps)(?=[.[]|$)/
// A member by name, by index, or by any name as a JSON string.
const SEGMENT = /\.([\p{L}\p{N}_$#-]+)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]/uy

/** Returns all references in the strings of the params, at any depth. Fails with `INVALID_REFERENCE` if one is malformed. */
export function referencesIn(params: Json): Reference[] {
  if (typeof params === 'string') return parseTemplate(params).filter((part) => typeof part !== 'string')
  if (typeof params !== 'object' || params === null) return []
  return Object.values(params).flatMap(referencesIn)
}

/**
 * Returns the params with each reference replaced. A string that is one reference and nothing else becomes the value
 * itself, whatever its type; inside a longer text a string stands as it is, any other value as JSON. What comes in this
 * way is never searched for references again. Fails with `INVALID_REFERENCE` where there is no such value.
 */
export function resolveReferences(params: Json, scope: ReferenceScope): Json {
  if (typeof params === 'string') return resolveText(params, scope)
  if (typeof params !== 'object' || params === null) return params
  if (Array.isArray(params)) return params.map((item: Json) => resolveReferences(item, scope))
  return Object.fromEntries(Object.entries(params).map(([key, item]) => [key, resolveReferences(item, scope)]))
}

function resolveText(text: string, scope: ReferenceScope): Json {
  const parts = parseTemplate(text)
  const [first] = parts
  if (parts.length === 1 && first !== undefined && typeof first !== 'string') return lookUp(first, scope)
  let result = ''
  for (const part of parts) {
    const value = typeof part === 'string' ? part : lookUp(part, scope)
    result += typeof value === 'string' ? value : JSON.stringify(value)
    if (result.length > limits.runInputBytesMax) {
      throw new AppError('INPUT_TOO_LARGE', 'A text grows too large when its references are filled in')
    }
  }
  return result
}

function parseTemplate(text: string): (string | Reference)[] {
  const parts: (string | Reference)[] = []
  let rest = 0
  for (let open = text.indexOf('{{'); open >= 0; open = text.indexOf('{{', rest)) {
    const close = text.indexOf('}}', open)
    if (close < 0) throw malformed(text.slice(open))
    if (open > rest) parts.push(text.slice(rest, open))
    parts.push(parseReference(text.slice(open + 2, close).trim()))
    rest = close + 2
  }
  if (rest < text.length || parts.length === 0) parts.push(text.slice(rest))
  return parts
}

function parseReference(text: string): Reference {
  const root = text.length <= REFERENCE_CHARS_MAX ? ROOT.exec(text)?.[0] : undefined
  if (!root) throw malformed(`{{ ${text} }}`)
  const path: string[] = []
  SEGMENT.lastIndex = root.length
  while (SEGMENT.lastIndex < text.length) {
    const [, name, index, quoted] = SEGMENT.exec(text) ?? []
    const key = name ?? index ?? (quoted && unquote(quoted))
    if (key === undefined) throw malformed(`{{ ${text} }}`)
    path.push(key)
  }
  if (root === 'input') return { text, step: null, path }
  const [step, output, ...rest] = path
  if (step === undefined || output !== 'output') throw malformed(`{{ ${text} }}`)
  return { text, step, path: rest }
}

function unquote(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted)
  } catch {
    return undefined
  }
}

function lookUp(reference: Reference, { input, outputs }: ReferenceScope): Json {
  const root = reference.step === null ? input : outputs.get(reference.step)
  if (root === undefined) throw noValue(reference, 'there is no such step before this one')
  return reference.path.reduce((value: Json, key) => {
    const member = memberOf(value, key)
    if (member === undefined) throw noValue(reference, `there is no ${JSON.stringify(key)}`)
    return member
  }, root)
}

function memberOf(value: Json, key: string): Json | undefined {
  if (Array.isArray(value)) return value[Number(key)]
  const isOwn = typeof value === 'object' && value !== null && Object.hasOwn(value, key)
  return isOwn ? (value as JsonObject)[key] : undefined
}

function malformed(text: string): AppError {
  return new AppError('INVALID_REFERENCE', `${JSON.stringify(text.slice(0, SHOWN_CHARS_MAX))} is not a reference`, {
    hint: 'Write {{ input.field }} or {{ steps.name.output.field }}; unusual names as ["any name"].',
  })
}

function noValue({ text, step }: Reference, why: string): AppError {
  const hint = step === null ? `Give the run an input that has ${text}, or correct the reference.` : undefined
  return new AppError('INVALID_REFERENCE', `{{ ${text} }} has no value: ${why}`, hint ? { hint } : {})
}
