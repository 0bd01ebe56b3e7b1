import { createRequire } from 'node:module'
import type { ASTNode, Environment } from '@marcbachmann/cel-js'
import { limits } from '../../limits.ts'
import { type ExpressionContext, FACTS } from './expression-facts.ts'
import { type ExpressionProblem, guardExpression, REGEX_FUNCTION } from './expression-guards.ts'
import { messageOf, problemOf } from './expression-words.ts'
import { type StepTexts, stepTexts } from './step-texts.ts'

/** What an expression says of a run. An evaluation that fails is an answer of its own, and never means allow. */
export type ExpressionAnswer =
  | { readonly kind: 'hit' }
  | { readonly kind: 'clear' }
  /** It asks about the next step, and there is none. */
  | { readonly kind: 'needs_step' }
  | { readonly kind: 'failed'; readonly message: string }

/** A checked CEL expression: true where the run breaks the policy. */
export interface Expression {
  /** True when it asks about the next step. */
  readonly usesStep: boolean
  /** What of the next step makes it one that the expression is about; null: it may be about any. */
  readonly stepTexts: StepTexts | null
  holdAgainst(context: ExpressionContext): ExpressionAnswer
}

export type Compiled =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly problems: readonly ExpressionProblem[] }

/**
 * Compiles CEL expressions over typed facts, each once: the latest 1,000 are kept. An expression has at most 2,000
 * characters and answers true or false; what may be in it is said in docs/reference/policies.md.
 */
export class Expressions {
  #environment: Environment | undefined
  readonly #compiled = new Map<string, Compiled>()

  compile(text: string): Compiled {
    this.#environment ??= createEnvironment()
    const compiled = this.#compiled.get(text) ?? compile(this.#environment, text)
    this.#compiled.delete(text)
    this.#compiled.set(text, compiled) // the last one was used last
    if (this.#compiled.size > limits.policyExpressionCacheMax) {
      const [oldest = text] = this.#compiled.keys()
      this.#compiled.delete(oldest)
    }
    return compiled
  }
}

/** Loads the library: most commands, and tenants with limits alone, have no expressions. */
function createEnvironment(): Environment {
  const { Environment }: typeof import('@marcbachmann/cel-js') = createRequire(import.meta.url)('@marcbachmann/cel-js')
  const environment = new Environment({
    limits: {
      maxAstNodes: limits.policyExpressionNodesMax,
      maxDepth: limits.policyExpressionDepthMax,
      maxListElements: limits.policyExpressionListMax,
      maxMapEntries: limits.policyExpressionListMax,
      maxCallArguments: 3,
    },
  })
  for (const [name, fields] of Object.entries(FACTS)) {
    const schema = Object.fromEntries(Object.entries(fields).map(([field, { type }]) => [field, type]))
    environment.registerVariable(name, { schema })
  }
  return environment
}

function compile(base: Environment, text: string): Compiled {
  if (text.length > limits.policyExpressionCharsMax) {
    const message = `the expression has ${text.length} characters; at most ${limits.policyExpressionCharsMax} are allowed`
    return refused({ message, hint: 'Split it into several policies.', start: 0, end: 0 })
  }
  const regex = new RegexWork()
  const environment = base
    .clone()
    .registerFunction(`string.${REGEX_FUNCTION}(string): bool`, (subject, pattern) => regex.matches(subject, pattern))
  try {
    const evaluate = environment.parse(text)
    const { problems, patterns, usesStep } = guardExpression(evaluate.ast)
    if (problems.length > 0) return { ok: false, problems }
    const { valid, type, error } = evaluate.check()
    if (!valid) return refused(problemOf(error, text))
    if (type !== 'bool') return refused(notBoolean(evaluate.ast, type))
    const holdAgainst = (context: ExpressionContext): ExpressionAnswer => {
      if (usesStep && !context.step) return { kind: 'needs_step' }
      regex.restart(patterns)
      return answerOf(evaluate, context)
    }
    return { ok: true, expression: { usesStep, stepTexts: stepTexts(evaluate.ast), holdAgainst } }
  } catch (error) {
    return refused(problemOf(error, text))
  }
}

/** Matches texts against the expression's own patterns, with a bound on the work of one evaluation. */
class RegexWork {
  #patterns: ReturnType<typeof guardExpression>['patterns'] = new Map()
  #left = 0

  restart(patterns: ReturnType<typeof guardExpression>['patterns']): void {
    this.#patterns = patterns
    this.#left = limits.policyPatternWorkMax
  }

  matches(subject: string, text: string): boolean {
    const pattern = this.#patterns.get(text)
    if (!pattern) throw new Error(`the pattern ${JSON.stringify(text)} is not compiled`)
    this.#left -= subject.length * pattern.programSize()
    if (this.#left < 0) throw new Error('its patterns take too much work')
    return pattern.matcher(subject).find()
  }
}

function answerOf(evaluate: (context: object) => unknown, context: object): ExpressionAnswer {
  try {
    const answer = evaluate(context)
    if (typeof answer !== 'boolean') return { kind: 'failed', message: 'it did not answer true or false' }
    return { kind: answer ? 'hit' : 'clear' }
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) }
  }
}

function refused(problem: ExpressionProblem): Compiled {
  return { ok: false, problems: [problem] }
}

function notBoolean({ start, end }: ASTNode, type: string | undefined): ExpressionProblem {
  return {
    message: `it answers ${type?.startsWith('$') ? 'all facts' : type}, not true or false`,
    hint: 'Compare it, as in run.steps > 10.',
    start,
    end,
  }
}
