import { limits } from '../../limits.ts'
import { checkDocument, type PolicyProblem } from './check-policies.ts'
import type { Expressions } from './expressions.ts'
import { type Misfit, offsetWithin, type Placed, type PolicyFormat, rangeOf, readYaml } from './placed-yaml.ts'
import type { PolicyDefinition } from './policy-document.ts'

/** What is wrong with a policy file, and where: line and column count from 1, `length` is what a caret stands under. */
export interface LintFinding {
  readonly line: number
  readonly column: number
  readonly length: number
  readonly message: string
  readonly hint: string
}

export interface LintedFile {
  /** Empty when there are findings. */
  readonly policies: readonly PolicyDefinition[]
  /** In the order of the file, 50 at the most. */
  readonly findings: readonly LintFinding[]
}

/**
 * Pure. Reads and checks the text of a policy file, YAML or JSON, at most 131,072 bytes. Whatever the text is, the
 * answer is findings; nothing is thrown. Of what is to be `json` all else is a finding.
 */
export function lintPolicies(text: string, expressions: Expressions, format?: PolicyFormat): LintedFile {
  const { root, misfits, lines } = readYaml(text, format)
  const { policies, problems } = root ? checkDocument(root.value, expressions) : { policies: [], problems: [] }
  const found = root ? problems.map((problem) => misfitOf(problem, root, text)) : misfits
  const findings = found
    .toSorted((a, b) => a.start - b.start)
    .slice(0, limits.policyFindingsMax)
    .map(({ start, end, message, hint }) => {
      const { line, col } = lines.linePos(start)
      const length = Math.max(1, Math.min(end, endOfLine(text, start)) - start)
      return { line: Math.max(1, line), column: Math.max(1, col), length, message, hint }
    })
  return { policies: findings.length === 0 ? policies : [], findings }
}

/** A wrong field is shown at its key, what is missing at the first key beside it, anything else at the value. */
function misfitOf({ path, at, message, hint, span }: PolicyProblem, root: Placed, text: string): Misfit {
  let place = root
  for (const step of path) place = place.parts.get(step) ?? place
  const firstKey = place.parts.values().next().value?.key
  const node = { key: place.key, beside: firstKey, value: place.node }[at ?? 'value'] ?? place.node
  const [start, end] = rangeOf(node)
  if (!span) return { start, end, message, hint }
  const from = offsetWithin(place, text, span.start)
  if (from === null) return { start, end, message: `${message} (at its character ${span.start + 1})`, hint }
  return { start: from, end: from + span.end - span.start, message, hint }
}

function endOfLine(text: string, start: number): number {
  const end = text.slice(start).search(/\r?\n/)
  return end === -1 ? text.length : start + end
}
