/** What docs say of policy files: the JSON Schema, and the tables of the reference page. */
import { z } from 'zod'
import { FACTS } from '../src/domains/policies/expression-facts.ts'
import { FUNCTIONS, METHODS } from '../src/domains/policies/expression-guards.ts'
import { documentSchema, expressionSchema, limitSchema, METRICS } from '../src/domains/policies/policy-document.ts'
import { limits } from '../src/limits.ts'
import { table } from './reference-pages.ts'

/** The published JSON Schema, from the schema that checks files. */
export function policiesSchema(): string {
  return `${JSON.stringify(z.toJSONSchema(documentSchema, { io: 'input' }), null, 2)}\n`
}

/** The page with its marked tables as the code has them now. */
export function policiesPage(page: string): string {
  return Object.entries(PARTS).reduce((text, [name, draw]) => {
    const [begin, end] = [`<!-- from the code: ${name} -->\n`, `<!-- end: ${name} -->`]
    const [from, to] = [text.indexOf(begin), text.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`docs/reference/policies.md has no part marked ${name}`)
    return text.slice(0, from + begin.length) + draw() + text.slice(to)
  }, page)
}

const PARTS: Readonly<Record<string, () => string>> = {
  fields: fieldsTable,
  metrics: () =>
    table(
      ['metric', 'what is counted'],
      Object.entries(METRICS).map(([name, meaning]) => [`\`${name}\``, meaning]),
    ),
  facts: () =>
    table(
      ['fact', 'type', 'meaning'],
      Object.entries(FACTS).flatMap(([of, fields]) =>
        Object.entries(fields).map(([name, { type, meaning }]) => [`\`${of}.${name}\``, type, meaning]),
      ),
    ),
  functions: () => `Functions: ${codes(FUNCTIONS)}. Methods: ${codes(METHODS)}.\n`,
  bounds: boundsTable,
}

interface Property {
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  readonly type?: string
  readonly anyOf?: readonly Property[]
}

function fieldsTable(): string {
  const shapes = [limitSchema, expressionSchema].map((schema) => {
    const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' })
    return { properties: properties as Record<string, Property>, required }
  })
  const fields = new Map(shapes.flatMap(({ properties }) => Object.entries(properties)))
  const rows = [...fields].map(([name, property]) => {
    const of = shapes.filter(({ properties }) => name in properties)
    const kind = of.length === shapes.length ? 'every' : of[0] === shapes[0] ? 'limit' : 'condition'
    const needed = of.every(({ required }) => required.includes(name))
    const without = needed ? 'needed' : property.default === undefined ? '' : `\`${property.default}\``
    return [`\`${name}\``, kind, allowedOf(property), without, property.description ?? '']
  })
  return table(['field', 'of', 'allowed', 'left out', 'meaning'], rows)
}

function allowedOf({ enum: values, type, anyOf }: Property): string {
  if (values) return codes(values)
  return type ?? anyOf?.map(allowedOf).join(' or ') ?? ''
}

function boundsTable(): string {
  return table(
    ['bound', 'at most'],
    [
      ['bytes of a file', limits.policyFileBytesMax],
      ['policies of a tenant, and of a file', limits.policiesPerTenantMax],
      ['characters of an expression', limits.policyExpressionCharsMax],
      ['operators, names and values in it', limits.policyExpressionNodesMax],
      ['levels of nesting', limits.policyExpressionDepthMax],
      ['elements of a list, entries of a map', limits.policyExpressionListMax],
      ['macros inside each other', limits.policyMacroDepthMax],
      ['characters of a pattern', limits.policyPatternCharsMax],
      ['instructions that it compiles to', limits.policyPatternProgramMax],
      ['characters times instructions of one evaluation', limits.policyPatternWorkMax],
    ].map(([bound, max]) => [String(bound), max?.toLocaleString('en-US') ?? '']),
  )
}

function codes(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}
