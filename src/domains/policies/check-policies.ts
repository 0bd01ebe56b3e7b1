import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { nearestName } from '../../foundation/near-names.ts'
import { pathText } from '../../foundation/schema-issues.ts'
import { limits } from '../../limits.ts'
import type { Expressions } from './expressions.ts'
import { EITHER, FILE_EXAMPLE, REFERENCE, wordsOf } from './issue-words.ts'
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
  if (!parsed.success) return { policies: [], problems: problemsOf(parsed.error.issues, document, []) }
  const checked = parsed.data.policies.map((policy, index) => checkPolicy(policy, ['policies', index], expressions))
  const problems = [...checked.flatMap((each) => each.problems), ...duplicates(parsed.data.policies)]
  return { policies: checked.flatMap(({ policy }) => policy ?? []), problems }
}

/** The policies with their defaults. Fails with `INVALID_POLICY`, naming every problem. */
export function parsePolicies(policies: readonly unknown[], expressions: Expressions): readonly PolicyDefinition[] {
  const checked = checkDocument({ policies }, expressions)
  if (checked.problems.length === 0) return checked.policies
  const [first, ...rest] = checked.problems
  const told = checked.problems.map(({ path, message }) => `${pathText(path.slice(0, 2))}: ${message}`)
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
  if (!parsed.success) return { policy: null, problems: problemsOf(parsed.error.issues, value, path) }
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
const FILE_FIELDS = Object.keys(documentSchema.shape)

/** Each wrong field in our words; what is missing only where no other key was meant to be it. */
function problemsOf(issues: readonly z.core.$ZodIssue[], value: unknown, base: PolicyProblem['path']): PolicyProblem[] {
  const keys = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []))
  const meant = new Map(keys.map((key) => [key, nearestName(key, base.length > 0 ? FIELDS : FILE_FIELDS)]))
  const missing = issues.flatMap((issue) => missingField(issue, value) ?? [])
  return issues.flatMap((issue): PolicyProblem[] => {
    if (issue.code === 'unrecognized_keys') return keys.map((key) => unknownKey(key, meant.get(key) ?? null, base))
    const field = missingField(issue, value)
    if (field === null) return [problemOf(issue, value, base)]
    const isTold = [...meant.values()].includes(field) || (field === 'max' && missing.includes('metric'))
    const hint = field === 'metric' ? EITHER : field === 'policies' ? FILE_EXAMPLE : REFERENCE
    return isTold ? [] : [{ path: base, at: 'beside', message: `${field} is missing`, hint }]
  })
}

function missingField({ code, path }: z.core.$ZodIssue, value: unknown): string | null {
  const field = path.length === 1 ? path[0] : undefined
  if (code === 'custom' || typeof field !== 'string' || !isRecord(value)) return null
  return field in value ? null : field
}

function unknownKey(key: string, meant: string | null, base: PolicyProblem['path']): PolicyProblem {
  const path = [...base, key]
  // A field of limits beside `when`, which makes a policy a condition.
  if (meant === key) return { path, at: 'key', message: `${key} can't stand beside when`, hint: EITHER }
  const fields = base.length > 0 ? `Fields: ${FIELDS.join(', ')}.` : 'A file holds a list: policies.'
  const hint = meant === null ? fields : `Did you mean ${meant}?`
  return { path, at: 'key', message: `there is no field ${JSON.stringify(key)} here`, hint }
}

function problemOf(issue: z.core.$ZodIssue, value: unknown, base: PolicyProblem['path']): PolicyProblem {
  const steps = issue.path as (string | number)[]
  const there = steps.reduce<unknown>((at, step) => (isRecord(at) ? at[step] : undefined), value)
  const subject = steps.at(-1) ?? (base.length > 0 ? 'a policy' : 'the file')
  return { path: [...base, ...steps], ...wordsOf(issue, String(subject), there) }
}

function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === 'object' && value !== null
}
