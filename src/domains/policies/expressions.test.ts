import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../limits.ts'
import { FACTS, type FactType, type RunFacts, runContext } from './expression-facts.ts'
import { Expressions } from './expressions.ts'

const expressions = new Expressions()
const facts: RunFacts = {
  tenantId: 'acme',
  agent: 'a'.repeat(limits.stepNameCharsMax),
  costNanoUsd: 600_000_000n,
  uncostedSteps: 0,
  tokensIn: 700,
  tokensOut: 300,
  steps: 3,
  failedSteps: 0,
  toolCalls: 1,
  wallClockMs: 1_500,
}
const run = runContext(facts)
const step = { kind: 'tool', name: 'clean up', tool: 'shell' }

const answer = (when: string, context = { run, step }) => {
  const compiled = expressions.compile(when)
  return compiled.ok ? compiled.expression.holdAgainst(context).kind : 'refused'
}
const problems = (when: string) => {
  const compiled = expressions.compile(when)
  return compiled.ok ? [] : compiled.problems
}
/** Where the first problem is, as the text that a caret would stand under. */
const place = (when: string) => {
  const [first] = problems(when)
  return first && when.slice(first.start, first.end)
}

describe('an expression', () => {
  it.each([
    ['step.tool == "shell" && run.cost_usd > 0.5', 'hit'],
    ['step.tool == "shell" && run.cost_usd > 0.6', 'clear'],
    ['run.tokens == 1000 && run.tokens_in == 700 && run.tokens_out == 300', 'hit'],
    ['run.wall_clock_seconds == 1.5 && run.tool_calls == 1 && run.failed_steps == 0', 'hit'],
    ['run.steps > 2.5', 'hit'],
    ['run.tenant in ["acme", "globex"]', 'hit'],
    ['["sh", "rm"].exists(word, step.tool.startsWith(word))', 'hit'],
    ['[1, 2].exists(a, [3, 4].exists(b, a * b == 8))', 'hit'],
    ['step.name.matchesRe2("(?i)^CLEAN")', 'hit'],
    ['run.agent.matchesRe2("^(a+)+$")', 'hit'],
    ['run.agent.matchesRe2("^(a+)+b$")', 'clear'],
    ['has(run.cost_usd)', 'hit'],
    ['1 / run.failed_steps > 1', 'failed'],
    ['int(run.tenant) > 1', 'failed'],
  ])('%s: %s', (when, kind) => {
    expect(answer(when)).toBe(kind)
  })

  it('knows every declared fact, and nothing else', () => {
    for (const [of, fields] of Object.entries(FACTS)) {
      for (const [field, { type }] of Object.entries(fields)) {
        const other = { string: '"none"', int: '-1', double: '-1.0' }[type as FactType]
        expect(answer(`${of}.${field} == ${other}`)).toBe('clear')
      }
    }
  })

  it('that asks for the next step says so where there is none', () => {
    const compiled = expressions.compile('run.steps > 100 && step.tool == "shell"')
    expect(compiled.ok && compiled.expression.usesStep).toBe(true)
    expect(compiled.ok && compiled.expression.holdAgainst({ run })).toEqual({ kind: 'needs_step' })
  })

  it.each([
    ['does not parse', 'run.steps >', 'ends too soon', ''],
    ['is empty', '', 'ends too soon', ''],
    ['goes on wrongly', 'run.steps = 1', '"=" can’t stand here', '='],
    ['has an open text', 'run.agent == "a', 'a text is not closed', '"a'],
    ['names no fact', 'run.stepz > 1', 'there is no fact run.stepz', 'stepz'],
    ['names no variable', 'runs.steps > 1', 'nothing named "runs"', 'runs'],
    ['does not type-check', 'run.agent > 1', 'types that don’t go together', 'run.agent > 1'],
    ['is no condition', 'run.steps + 1', 'it answers int', 'run.steps + 1'],
    ['asks has() for what is no fact', 'has(run.cost_usdd)', 'has() takes the name', 'run.cost_usdd'],
    ['looks a fact up by a computed name', 'run[run.agent] == 1', 'computed name', 'run[run.agent]'],
    ['has a number beyond 64 bits', 'run.steps < 9223372036854775808', 'fit 64 bits', '9223372036854775808'],
    ['calls matches()', 'run.agent.matches("(a+)+$")', 'for ever', 'run.agent.matches("(a+)+$")'],
    ['calls what is not on the list', '"a,b".split(",") == []', '.split() can', '"a,b".split(",")'],
    ['escapes its types', 'dyn(run.steps) == "a"', 'dyn() can', 'dyn(run.steps)'],
    ['hides a fact behind a macro’s variable', '[1].exists(step, step > 0)', 'named step', 'step'],
    ['computes its pattern', 'run.agent.matchesRe2(run.tenant)', 'must be a text', 'run.tenant'],
    ['has a pattern that is none', 'run.agent.matchesRe2("(")', 'missing closing', '"("'],
    ['looks ahead', 'run.agent.matchesRe2("(?=a)")', 'invalid or unsupported', '"(?=a)"'],
  ])('that %s is refused at the place', (_what, when, message, at) => {
    expect(problems(when)[0]?.message).toContain(message)
    expect(problems(when)[0]?.hint).not.toBe('')
    expect(place(when)).toBe(at)
  })

  const bombs: readonly [string, string][] = [
    ['a pattern that repeats repeats', 'run.agent.matchesRe2("((a{0,30}){0,30})b")'],
    ['a pattern that counts too far', 'run.agent.matchesRe2("a{1001}")'],
    ['a pattern that is too long', `run.agent.matchesRe2("${'a'.repeat(201)}")`],
    ['three macros in each other', '[1].exists(a, [1].exists(b, [1].exists(c, a + b == c)))'],
    ['a long list', `run.steps in [${'1,'.repeat(50)}1]`],
    ['many nodes', `${'run.steps > 1 && '.repeat(100)}true`],
    ['deep nesting', `${'('.repeat(100)}true${')'.repeat(100)}`],
    ['a long text', `run.agent == "${'a'.repeat(2_000)}"`],
    ['a variable that doubles', 'cel.bind(a, run.agent + run.agent, a + a == "")'],
  ]
  it.each(bombs)('that is a bomb is refused: %s', (_what, when) => {
    expect(problems(when)).toHaveLength(1)
  })

  it('that passes is done in a moment, however it was built', () => {
    const list = `[${Array.from({ length: 50 }, (_, i) => i).join(',')}]`
    const text = Array(20).fill('run.agent').join(' + ')
    const worst = [
      `${list}.exists(a, ${list}.exists(b, a * b + a - b > run.steps * 100000 || run.agent.contains("b")))`,
      `${list}.exists(a, ${list}.exists(b, (${text}).contains("b")))`,
      `${list}.exists(a, ${list}.exists(b, run.agent.matchesRe2("(.*)(.*)(.*)(.*)b")))`,
      `(${text}).matchesRe2("(a?){200}b")`,
    ]
    for (const when of worst) {
      expect(problems(when), when).toEqual([])
      const startedAt = performance.now()
      answer(when)
      expect(performance.now() - startedAt, when).toBeLessThan(2_000)
    }
  })

  it('never throws, whatever it is: it is refused, or answers', () => {
    const words = ['run', 'step', '.', 'steps', 'agent', '(', ')', '[', ']', '"a"', '1', '-', '+', '>', '==', '&&', '?']
    const more = [
      ':',
      '!',
      'has',
      'matchesRe2',
      'exists',
      'x',
      ',',
      '{',
      '}',
      'in',
      'r"',
      '\\',
      '0x',
      '1e400',
      'null',
      ' ',
    ]
    const soup = fc.array(fc.constantFrom(...words, ...more), { maxLength: 30 }).map((tokens) => tokens.join(''))
    const kinds = ['hit', 'clear', 'needs_step', 'failed', 'refused']
    fc.assert(
      fc.property(fc.oneof(soup, fc.string({ unit: 'binary', maxLength: 100 })), (when) => {
        expect(kinds).toContain(answer(when))
        for (const { start, end } of problems(when)) expect(start).toBeLessThanOrEqual(end)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is compiled once', () => {
    const when = 'run.steps > 4711'
    expect(expressions.compile(when)).toBe(expressions.compile(when))
    for (let i = 0; i < limits.policyExpressionCacheMax; i++) expressions.compile(`run.steps > ${i}`)
    expect(expressions.compile('run.steps > 999')).toBe(expressions.compile('run.steps > 999'))
  })
})
