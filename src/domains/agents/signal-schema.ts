import { createRequire } from 'node:module'
import type { Ajv2020, ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import type { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'
import { jsonSchemaOf, parseWith } from './schema-check.ts'

/** What a signal's payload must fit, in two forms: for the agent that waits, and for whoever sends one. */
export interface SignalSchema<T> {
  /** JSON Schema, as it is kept with the wait; null: anything fits. */
  readonly json: JsonObject | null
  /** Returns the payload as the schema makes it, defaults filled in. Fails with `INVALID_INPUT`, naming every wrong field. */
  parse(payload: Json): T
}

/**
 * The schemas of signals, compiled once each. JSON Schema of draft 2020-12, in which `format` is a note. Not by zod, which
 * ignores what it does not know: `required` without `properties`, bounds without a `type`, objects in `enum`.
 */
export class SignalSchemas {
  readonly #compiled = new Map<string, ValidateFunction>()
  #ajv: Ajv2020 | undefined

  /** Reads a schema of zod's, or JSON Schema. Fails with `INVALID_REQUEST` for one that can't be used. */
  read<T>(name: string, schema: z.ZodType<T> | JsonObject | undefined): SignalSchema<T> {
    if (schema === undefined) return { json: null, parse: (payload) => payload as T }
    if (isZod(schema)) {
      const options = { code: 'INVALID_INPUT', what: payloadOf(name) } as const
      return { json: bounded(name, jsonSchemaOf(schema)), parse: (payload) => parseWith(schema, payload, options) }
    }
    const validate = this.#compile(name, bounded(name, schema))
    return {
      json: schema,
      parse(payload) {
        refuseMisfit(name, validate, payload)
        return payload as T
      },
    }
  }

  /**
   * Fails with `INVALID_INPUT` unless the payload fits the schema that is kept with a wait for it. What zod says beyond
   * JSON Schema, and a pattern that JSON Schema reads otherwise, only the agent can check.
   */
  check(name: string, schema: JsonObject, payload: Json): void {
    let validate: ValidateFunction
    try {
      validate = this.#compile(name, schema)
    } catch {
      return
    }
    refuseMisfit(name, validate, payload)
  }

  #compile(name: string, schema: JsonObject): ValidateFunction {
    const text = JSON.stringify(schema)
    const known = this.#compiled.get(text)
    if (known) return known
    this.#ajv ??= createAjv()
    try {
      const validate = this.#ajv.compile(schema)
      this.#ajv.removeSchema(schema) // what it is compiled to stays; its own cache knows no bound
      if (this.#compiled.size >= limits.signalSchemasMax) this.#compiled.clear()
      this.#compiled.set(text, validate)
      return validate
    } catch (cause) {
      const message = `the schema of ${JSON.stringify(name)} is neither of zod nor JSON Schema: ${(cause as Error).message}`
      throw new AppError('INVALID_REQUEST', message, { cause })
    }
  }
}

/** Loads the library: 83 modules, for the few waits that have a schema. */
function createAjv(): Ajv2020 {
  const library: typeof import('ajv/dist/2020.js') = createRequire(import.meta.url)('ajv/dist/2020.js')
  return new library.Ajv2020({
    allErrors: true,
    strict: false,
    validateFormats: false,
    unicodeRegExp: false,
    addUsedSchema: false,
  })
}

function isZod<T>(schema: z.ZodType<T> | JsonObject): schema is z.ZodType<T> {
  return typeof schema === 'object' && schema !== null && '_zod' in schema
}

function bounded(name: string, schema: JsonObject): JsonObject {
  if (JSON.stringify(schema).length <= limits.signalSchemaCharsMax) return schema
  const bound = `${limits.signalSchemaCharsMax} characters`
  throw new AppError('INVALID_REQUEST', `the schema of ${JSON.stringify(name)} has more than ${bound} as JSON`)
}

const ISSUES_MAX = 10

function refuseMisfit(name: string, validate: ValidateFunction, payload: Json): void {
  let fits: boolean
  try {
    fits = validate(payload)
  } catch (cause) {
    throw new AppError('INVALID_INPUT', `The ${payloadOf(name)} is nested too deep for its schema`, { cause })
  }
  if (fits) return
  const errors = validate.errors ?? []
  const issues = errors
    .slice(0, ISSUES_MAX)
    .map((error) => ({ path: pathOf(error), message: error.message ?? 'wrong' }))
  const list = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
  const more = errors.length > ISSUES_MAX ? `; and ${errors.length - ISSUES_MAX} more` : ''
  throw new AppError('INVALID_INPUT', `The ${payloadOf(name)} does not fit: ${list}${more}`, { details: { issues } })
}

/** `/items/0/price` as `items[0].price`. */
function pathOf({ instancePath }: ErrorObject): string {
  const keys = instancePath.split('/').slice(1)
  return keys.reduce((text, part) => {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (/^\d+$/.test(key)) return `${text}[${key}]`
    return text ? `${text}.${key}` : key
  }, '')
}

function payloadOf(name: string): string {
  return `payload of signal ${JSON.stringify(name)}`
}
