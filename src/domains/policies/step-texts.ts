import type { ASTNode } from '@marcbachmann/cel-js'
import type { StepFacts } from './expression-facts.ts'

/** What an expression looks for in the next step, by fact: the texts that it compares it with. */
export type StepTexts = { readonly [Fact in keyof StepFacts]: ReadonlySet<string> }

const FACTS = ['kind', 'name', 'tool'] as const

/**
 * Pure. The texts of which one must be the next step's, or all that the expression says of a step is false of this one.
 * Null where it says more of the step than that, as by `!=` or a pattern: any step may be one that it is about.
 */
export function stepTexts(root: ASTNode): StepTexts | null {
  const texts = { kind: new Set<string>(), name: new Set<string>(), tool: new Set<string>() }
  const add = (fact: keyof StepFacts, values: readonly ASTNode[]): boolean => {
    for (const { op, args } of values) {
      if (op !== 'value' || typeof args !== 'string') return false
      texts[fact].add(args)
    }
    return true
  }
  const isTold = (node: ASTNode): boolean => {
    if (node.op === '&&' || node.op === '||') return node.args.every(isTold)
    if (node.op === '==') {
      const [left, right] = node.args
      const [fact, other] = factOf(left) === null ? [factOf(right), left] : [factOf(left), right]
      if (fact !== null) return add(fact, [other])
    }
    if (node.op === 'in') {
      const [left, right] = node.args
      const fact = factOf(left)
      if (fact !== null && right.op === 'list') return add(fact, right.args)
    }
    return !mentionsStep(node)
  }
  return isTold(root) ? texts : null
}

/** Pure. False: what the expression says of a step is false of this one. */
export function isAbout(texts: StepTexts | null, step: StepFacts): boolean {
  return texts === null || FACTS.some((fact) => texts[fact].has(step[fact]))
}

function factOf(node: ASTNode): keyof StepFacts | null {
  if (node.op !== '.') return null
  const [of, field] = node.args
  return of.op === 'id' && of.args === 'step' ? (FACTS.find((fact) => fact === field) ?? null) : null
}

function mentionsStep(node: ASTNode): boolean {
  const within = (value: unknown): boolean => {
    if (Array.isArray(value)) return value.some(within)
    return typeof value === 'object' && value !== null && 'op' in value && mentionsStep(value as ASTNode)
  }
  return (node.op === 'id' && node.args === 'step') || within(node.args)
}
