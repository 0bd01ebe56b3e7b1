import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { limits } from '../../limits.ts'
import type { Expressions } from './expressions.ts'
import { documentSchema, expressionSchema, isLimit, limitSchema, type PolicyDefinition } from './policy-document.ts'

/** What is wrong with a policy, and where: the way to the value, and the part of its text if it is an expression. */
export interface PolicyProblem {
  readonly path: readonly (string | number)[]
  /** `key`: the field itself is wrong. `beside`: a field is missing there. Otherwise it is the value. */
  readonly at?: 'key' | 'beside'
  readonly message: string
  readonly hint: string
  readonly span?: { readonly start: number; readonly end: number }
}

export interface CheckedPolicies {
  /** Complete only when there are no problems. */
  readonly policies: readonly PolicyDefinition[]
  readonly problems: readonly PolicyProblem[]
}

/** Pure. Checks a document of policies: its schema, that names are unique, that every expression compiles. */
export function checkDocument(document: unknown, expressions: Expressions): CheckedPolicies {
  const outer = documentSchema.extend({ policies: z.array(z.unknown()).max(limits.policiesPerTenantMax) })
  const parsed = outer.safeParse(document)
  if (!parsed.success)
    return { policies: [], problems: parsed.error.issues.flatMap((issue) => problemsOf(issue, document, [])) }
  const checked = parsed.data.policies.map((policy, index) => checkPolicy(policy, ['policies', index], expressions))
  const problems = [...checked.flatMap((each) => each.problems), ...duplicates(parsed.data.policies)]
  return { policies: checked.flatMap(({ policy }) => policy ?? []), problems }
}

/** The policies with their defaults. Fails with `INVALID_POLICY`, naming every problem. */
export function parsePolicies(policies: readonly unknown[], expressions: Expressions): readonly PolicyDefinition[] {
  const checked = checkDocument({ policies }, expressions)
  if (checked.problems.length === 0) return checked.policies
  const [first, ...rest] = checked.problems
  const told = checked.problems.map(({ path, message }) => `${path.slice(1).join('.')}: ${message}`)
  throw new AppError('INVALID_POLICY', told.slice(0, limits.policyFindingsMax).join('\n'), {
    ...(first && rest.length === 0 && { hint: first.hint }),
  })
}

interface CheckedPolicy {
  readonly policy: PolicyDefinition | null
  readonly problems: readonly PolicyProblem[]
}

function checkPolicy(value: unknown, path: PolicyProblem['path'], expressions: Expressions): CheckedPolicy {
  const schema = isRecord(value) && 'when' in value ? expressionSchema : limitSchema
  const parsed = schema.safeParse(value)
  if (!parsed.success) {
    return { policy: null, problems: parsed.error.issues.flatMap((issue) => problemsOf(issue, value, path)) }
  }
  const policy = parsed.data
  if (isLimit(policy)) return { policy, problems: [] }
  const compiled = expressions.compile(policy.when)
  if (compiled.ok) return { policy, problems: [] }
  const problems = compiled.problems.map(({ message, hint, start, end }) => {
    return { path: [...path, 'when'], message, hint, span: { start, end } }
  })
  return { policy: null, problems }
}

function duplicates(policies: readonly unknown[]): PolicyProblem[] {
  const seen = new Set<unknown>()
  return policies.flatMap((policy, index) => {
    const name = isRecord(policy) && 'name' in policy ? policy.name : undefined
    if (typeof name !== 'string' || !seen.has(name)) {
      seen.add(name)
      return []
    }
    const message = `the name ${JSON.stringify(name)} is there twice`
    return [
      { path: ['policies', index, 'name'], message, hint: 'A name stands for one policy; give this one another.' },
    ]
  })
}

const FIELDS = [...new Set([...Object.keys(limitSchema.in.shape), ...Object.keys(expressionSchema.shape)])]
const DEFAULT_HINT = 'docs/reference/policies.md describes each field.'

function problemsOf(issue: z.core.$ZodIssue, value: unknown, base: PolicyProblem['path']): PolicyProblem[] {
  const path = [...base, ...(issue.path as (string | number)[])]
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const hint = base.length > 0 ? `Fields: ${FIELDS.join(', ')}.` : 'A file holds a list: policies.'
      return {
        path: [...path, key],
        at: 'key' as const,
        message: `there is no field ${JSON.stringify(key)} here`,
        hint,
      }
    })
  }
  const field = issue.path.length === 1 ? issue.path[0] : undefined
  if (issue.code !== 'custom' && field !== undefined && isRecord(value) && !(field in value)) {
    const hint =
      field === 'metric' ? 'A policy is a limit, with metric and max, or a condition, with when.' : DEFAULT_HINT
    return [{ path: base, at: 'beside', message: `${String(field)} is missing`, hint }]
  }
  return [{ path, message: issue.message, hint: DEFAULT_HINT }]
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
