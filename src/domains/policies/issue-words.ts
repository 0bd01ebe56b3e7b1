import type { z } from 'zod'
import { nearestName } from '../../foundation/near-names.ts'
import { limits } from '../../limits.ts'

/** What is wrong with a field, and what to do. */
interface Words {
  readonly message: string
  readonly hint: string
}

export const EITHER = 'A policy is a limit, with metric and max, or a condition, with when.'
export const REFERENCE = 'docs/reference/policies.md describes each field.'
export const FILE_EXAMPLE = 'As in:  policies: [{ name: max-cost, metric: cost_usd, max: 0.5 }]'

const WANTED: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
  object: 'a map of fields',
  array: 'a list',
}

/** Pure. A field's issue in our words, where zod has its own. `value` is what stands there, `subject` names the field. */
export function wordsOf(issue: z.core.$ZodIssue, subject: string, value: unknown): Words {
  const told = (message: string, hint = REFERENCE) => ({ message: `${subject} ${message}`, hint })
  switch (issue.code) {
    case 'invalid_type':
      if (typeof value === 'number' && issue.expected === 'number') return told('must be a finite number')
      return told(`must be ${WANTED[issue.expected] ?? issue.expected}, not ${kindOf(value)}`, hintTo(issue, value))
    case 'invalid_value': {
      const near = typeof value === 'string' ? nearestName(value, issue.values.map(String)) : null
      return { message: `${subject}: ${issue.message}`, hint: near === null ? REFERENCE : `Did you mean ${near}?` }
    }
    case 'too_small':
      return issue.origin === 'string' ? told('is empty') : told('is negative', 'Write 0 or more.')
    case 'too_big':
      if (issue.origin === 'array')
        return told(`has more than ${issue.maximum} of them`, 'Leave out what is not needed.')
      if (issue.origin !== 'string')
        return told(`is more than ${issue.maximum}`, 'Write less, or leave the policy out.')
      return told(
        `has ${String(value).length} characters; at most ${issue.maximum} are allowed`,
        'Split it into several.',
      )
    default:
      return told(issue.message)
  }
}

function hintTo({ expected }: z.core.$ZodIssueInvalidType, value: unknown): string {
  if (expected === 'object' || expected === 'array') return FILE_EXAMPLE
  if (expected === 'string' && isPlain(value)) return `Write it in quotes: "${value}".`
  if (expected === 'number' && typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)))
    return `Write it without quotes: ${value.trim().slice(0, limits.policyDescriptionCharsMax)}.`
  return REFERENCE
}

function isPlain(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean'
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  switch (typeof value) {
    case 'string':
      return 'a text'
    case 'number':
      return 'a number'
    case 'boolean':
      return String(value)
    default:
      return 'a map of fields'
  }
}
