import { z } from 'zod'
import { AppError, type ErrorCode } from '../../foundation/app-error.ts'
import type { JsonObject } from '../../foundation/json.ts'

const ISSUES_MAX = 10 // a wrong shape can make an issue an element; nobody reads more

/** Returns the value as the schema makes it. Fails with the code, naming every wrong field by its path. */
export function parseWith<T>(
  schema: z.ZodType<T>,
  value: unknown,
  { code, what, isPlural = false }: { code: ErrorCode; what: string; isPlural?: boolean },
): T {
  let parsed: z.ZodSafeParseResult<T>
  try {
    parsed = schema.safeParse(value)
  } catch (cause) {
    // An asynchronous refinement, or nesting that overflows a recursive schema.
    throw new AppError(code, `The ${what} could not be checked against its schema`, { cause })
  }
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues
    .slice(0, ISSUES_MAX)
    .map(({ path, message }) => ({ path: pathText(path), message }))
  const more = parsed.error.issues.length - issues.length
  const list = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
  throw new AppError(
    code,
    `The ${what} ${isPlural ? 'do' : 'does'} not fit: ${list}${more > 0 ? `; and ${more} more` : ''}`,
    {
      details: { issues },
    },
  )
}

/** What may be given, as JSON Schema; what that has no word for accepts anything. */
export function jsonSchemaOf(schema: z.ZodType): JsonObject {
  return JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })))
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text ? `${text}.${String(key)}` : String(key)
  }, '')
}
