import { z } from 'zod'
import { AppError, type ErrorCode } from '../../foundation/app-error.ts'
import type { JsonObject } from '../../foundation/json.ts'
import { ISSUES_MAX, issuesText, pathText } from '../../foundation/schema-issues.ts'

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
  throw new AppError(code, `The ${what} ${isPlural ? 'do' : 'does'} not fit: ${issuesText(parsed.error)}`, {
    details: { issues },
  })
}

/** What may be given, as JSON Schema; what that has no word for accepts anything. */
export function jsonSchemaOf(schema: z.ZodType): JsonObject {
  return JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })))
}
