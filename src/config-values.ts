import { z } from 'zod'

/** How the text of an environment variable becomes a value, what values are allowed, and how they are shown. */
export interface ValueKind<Value> {
  /** Reads a text. What it can't read becomes something that the schema refuses. */
  read(text: string): unknown
  readonly schema: z.ZodType<Value>
  /** The allowed values in words: "an integer from 1 to 10". */
  readonly expected: string
  /** The text that `read` would turn into the value; secrets in it are masked. */
  show(value: Value): string
}

export const flag: ValueKind<boolean> = {
  read: (text) => ({ true: true, '1': true, false: false, '0': false })[text.toLowerCase()],
  schema: z.boolean(),
  expected: 'true or false',
  show: String,
}

export function integer(min: number, max: number): ValueKind<number> {
  return {
    read: (text) => (/^\d+$/.test(text) ? Number(text) : undefined),
    schema: z.int().min(min).max(max),
    expected: `an integer from ${min} to ${max}`,
    show: String,
  }
}

const UNIT_MS = { seconds: 1_000, hours: 3_600_000, days: 86_400_000 }

/** A time that is written in one unit and kept in ms; parts of the unit are allowed. */
export function duration(unit: keyof typeof UNIT_MS, min: number, max: number): ValueKind<number> {
  const unitMs = UNIT_MS[unit]
  return {
    read: (text) => (/^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * unitMs) : undefined),
    schema: z
      .int()
      .min(min * unitMs)
      .max(max * unitMs),
    expected: `${min} to ${max} ${unit}`,
    show: (value) => String(value / unitMs),
  }
}

export function choice<const Value extends string>(values: readonly Value[]): ValueKind<Value> {
  return {
    read: (text) => text,
    schema: z.literal([...values]),
    expected: `one of ${values.join(', ')}`,
    show: String,
  }
}

export const text: ValueKind<string> = {
  read: (text) => text,
  schema: z.string().min(1).max(4_096),
  expected: 'a text of at most 4096 characters',
  show: String,
}

/** The URL of a server; a password in it is masked when it is shown. */
export function serverUrl(...protocols: readonly string[]): ValueKind<string> {
  return {
    read: (text) => text,
    schema: z.url({ protocol: new RegExp(`^(${protocols.join('|')})$`) }).max(4_096),
    expected: `a URL that begins with ${protocols.map((protocol) => `${protocol}://`).join(' or ')}`,
    show: maskUrl,
  }
}

function maskUrl(value: string): string {
  const url = value.includes('://') ? URL.parse(value) : null
  if (url === null) return '***' // whatever stands there may be the password
  if (url.password) url.password = '***'
  for (const name of url.searchParams.keys()) if (/password|token|key/i.test(name)) url.searchParams.set(name, '***')
  return url.href
}
