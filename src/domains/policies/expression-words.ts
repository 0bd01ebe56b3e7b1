import type { ParseError } from '@marcbachmann/cel-js'
import { nearestName } from '../../foundation/near-names.ts'
import { limits } from '../../limits.ts'
import { type ExpressionProblem, FACT_NAMES } from './expression-guards.ts'

const EXAMPLE = 'It is CEL, as in step.tool == "shell" && run.cost_usd > 0.5'
const SPLIT = 'Split it into several policies.'

const BOUNDS: Readonly<Record<string, string>> = {
  maxAstNodes: `it has more than ${limits.policyExpressionNodesMax} parts`,
  maxDepth: `it is nested more than ${limits.policyExpressionDepthMax} levels deep`,
  maxListElements: `a list has more than ${limits.policyExpressionListMax} elements`,
  maxMapEntries: `a map has more than ${limits.policyExpressionListMax} entries`,
  maxCallArguments: 'a function has more than 3 arguments',
}

/** Pure. Why the library refuses an expression, in our words where they say more, and where. */
export function problemOf(thrown: unknown, text: string): ExpressionProblem {
  const { start, end } = (thrown as Partial<ParseError>).range ?? { start: 0, end: text.length }
  return { ...wordsOf(thrown, text, start, end), start, end }
}

/** The library's message without its picture of the place, which is drawn for the whole file. */
export function messageOf(thrown: unknown): string {
  const { summary, message } = thrown as Partial<ParseError>
  return summary ?? message ?? String(thrown)
}

function wordsOf(thrown: unknown, text: string, start: number, end: number) {
  const { code = '' } = thrown as Partial<ParseError>
  const said = messageOf(thrown)
  const there = JSON.stringify(text.slice(start, Math.max(end, start + 1)))
  switch (code) {
    case 'no_such_key': {
      const [, of = ''] = /(\w+)\s*\.\s*$/.exec(text.slice(0, start)) ?? []
      const name = `${of && `${of}.`}${text.slice(start, end)}`
      return { message: `there is no fact ${name}`, hint: factsLike(name) }
    }
    case 'unknown_variable':
      return { message: `there is nothing named ${there}`, hint: factsLike(text.slice(start, end)) }
    case 'no_such_overload':
      return { message: said.replace(/^no such overload/, 'types that don’t go together'), hint: hintToTypes(said) }
    case 'limit_exceeded':
      return { message: BOUNDS[/\bmax\w+/.exec(said)?.[0] ?? ''] ?? said, hint: SPLIT }
    case 'unterminated_string':
    case 'unterminated_triple_quoted_string':
    case 'newline_in_string':
      return { message: 'a text is not closed', hint: 'Put the same quote behind it.' }
    case 'unexpected_token':
    case 'unexpected_character':
      if (text.slice(start).trim() === '') return { message: 'the expression ends too soon', hint: EXAMPLE }
      return { message: `${there} can’t stand here`, hint: EXAMPLE }
    case 'reserved_identifier':
      return { message: `${there} is a reserved word`, hint: EXAMPLE }
    default:
      return { message: said, hint: EXAMPLE }
  }
}

function factsLike(name: string): string {
  const near = nearestName(name, [...FACT_NAMES, 'run', 'step'])
  return near === null ? `Facts: ${FACT_NAMES.join(', ')}.` : `Did you mean ${near}?`
}

function hintToTypes(said: string): string {
  if (/\bint\b/.test(said) && /\bdouble\b/.test(said))
    return 'Write whole numbers with a point beside doubles, as in 2.0'
  return 'Put like with like: texts with texts, numbers with numbers.'
}
