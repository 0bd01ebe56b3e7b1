import type { ASTNode } from '@marcbachmann/cel-js'
import { RE2JS } from 're2js'
import { limits } from '../../limits.ts'
import { FACTS } from './expression-facts.ts'

/** What is wrong with an expression, and where: offsets in characters from its start. */
export interface ExpressionProblem {
  readonly message: string
  readonly hint: string
  readonly start: number
  readonly end: number
}

export const REGEX_FUNCTION = 'matchesRe2'

const MACROS: readonly string[] = ['all', 'exists', 'exists_one', 'filter', 'map']
export const FUNCTIONS: readonly string[] = ['has', 'size', 'int', 'double', 'string']
export const METHODS: readonly string[] = [
  ...['contains', 'startsWith', 'endsWith', 'lowerAscii', 'upperAscii', 'size', REGEX_FUNCTION],
  ...MACROS,
]
const INT_MAX = 2n ** 63n - 1n
const RESERVED: readonly string[] = Object.keys(FACTS)

export const FACT_NAMES: readonly string[] = Object.entries(FACTS).flatMap(([of, fields]) =>
  Object.keys(fields).map((name) => `${of}.${name}`),
)

/** What an expression asks for, as far as the evaluation must know it beforehand. */
export interface GuardedExpression {
  readonly problems: readonly ExpressionProblem[]
  /** True when it asks about the next step: it has an answer only before one. */
  readonly usesStep: boolean
  /** Its patterns, compiled once. */
  readonly patterns: ReadonlyMap<string, RE2JS>
}

/**
 * Refuses what could cost more than it says: functions that are not on the list (`matches()` backtracks, `split()` makes
 * lists as long as a text), macros nested more than two deep, patterns that are no literal or compile to too much. With
 * the parser's bounds on nodes, depth and lists, no expression that passes can run for long.
 */
export function guardExpression(root: ASTNode): GuardedExpression {
  const problems: ExpressionProblem[] = []
  const patterns = new Map<string, RE2JS>()
  let usesStep = false

  const refuse = ({ start, end }: ASTNode, message: string, hint: string) => {
    problems.push({ message, hint, start, end })
  }

  const visit = (node: ASTNode, macros: number): void => {
    if (node.op === 'id' && node.args === 'step') usesStep = true
    if (node.op === 'value' && typeof node.args === 'bigint' && node.args > INT_MAX) {
      refuse(node, 'the number does not fit 64 bits', 'Write it with a point: as a double it is compared all the same.')
    }
    if (node.op === 'call') checkFunction(node, node.args[0], node.args[1])
    if (node.op === '[]' && isFacts(node.args[0])) {
      refuse(node, 'facts are not looked up by a computed name', 'Name the fact, as in run.steps.')
    }
    if (node.op !== 'rcall') {
      for (const child of childrenOf(node)) visit(child, macros)
      return
    }
    const [name, receiver, args] = node.args
    checkMethod(node, name)
    if (name === REGEX_FUNCTION) checkPattern(node, args[0])
    visit(receiver, macros)
    const isMacro = MACROS.includes(name)
    if (isMacro) checkMacro(node, args[0], macros + 1)
    for (const argument of args) visit(argument, isMacro ? macros + 1 : macros)
  }

  const checkFunction = (node: ASTNode, name: string, args: readonly ASTNode[]) => {
    if (!FUNCTIONS.includes(name)) refuse(node, `${name}() can't be used here`, `Functions: ${FUNCTIONS.join(', ')}.`)
    // The checker lets has() ask for anything: a misspelt fact would never be there, and its policy never hit.
    if (name === 'has' && !(args[0] && isFact(args[0]))) {
      refuse(args[0] ?? node, 'has() takes the name of a fact', `Facts: ${FACT_NAMES.join(', ')}.`)
    }
  }

  const checkMethod = (node: ASTNode, name: string) => {
    if (name === 'matches') {
      refuse(node, 'matches() can take for ever on some texts', `Use ${REGEX_FUNCTION}("pattern"): RE2, linear time.`)
    } else if (!METHODS.includes(name)) {
      refuse(node, `.${name}() can't be used here`, `Methods: ${METHODS.join(', ')}.`)
    }
  }

  const checkMacro = (node: ASTNode, variable: ASTNode | undefined, depth: number) => {
    if (depth > limits.policyMacroDepthMax) {
      refuse(node, 'macros are nested too deep', 'At most one macro may stand inside another one.')
    }
    if (variable?.op === 'id' && RESERVED.includes(variable.args)) {
      refuse(variable, `a macro's variable can't be named ${variable.args}`, 'Take another name.')
    }
  }

  const checkPattern = (node: ASTNode, pattern: ASTNode | undefined) => {
    if (pattern?.op !== 'value' || typeof pattern.args !== 'string') {
      refuse(pattern ?? node, 'the pattern must be a text that stands here', `${REGEX_FUNCTION}("^sh(ell)?$")`)
      return
    }
    const compiled = compilePattern(pattern.args)
    if (typeof compiled === 'string') refuse(pattern, compiled, 'RE2 syntax, without look-around and back references.')
    else patterns.set(pattern.args, compiled)
  }

  visit(root, 0)
  return { problems, usesStep, patterns }
}

function isFacts(node: ASTNode): boolean {
  return node.op === 'id' && RESERVED.includes(node.args)
}

function isFact(node: ASTNode): boolean {
  if (node.op !== '.') return false
  const [of, field] = node.args
  return of.op === 'id' && FACT_NAMES.includes(`${of.args}.${field}`)
}

function compilePattern(pattern: string): RE2JS | string {
  if (pattern.length > limits.policyPatternCharsMax) {
    return `the pattern has ${pattern.length} characters; at most ${limits.policyPatternCharsMax} are allowed`
  }
  try {
    const compiled = RE2JS.compile(pattern)
    const size = compiled.programSize()
    return size <= limits.policyPatternProgramMax
      ? compiled
      : `the pattern unfolds to ${size} instructions; at most ${limits.policyPatternProgramMax} are allowed`
  } catch (error) {
    return (error as Error).message.replace('error parsing regexp: ', 'no pattern: ')
  }
}

/** Operands of an operator, elements of a list, entries of a map: whatever of its arguments is a node. */
function childrenOf({ args }: ASTNode): ASTNode[] {
  const nodesIn = (value: unknown): ASTNode[] => {
    if (Array.isArray(value)) return value.flatMap(nodesIn)
    return typeof value === 'object' && value !== null && 'op' in value ? [value as ASTNode] : []
  }
  return nodesIn(args)
}
