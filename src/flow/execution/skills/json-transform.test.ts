import { describe, expect, test } from 'vitest'
import type { Json } from '../../../foundation/json.ts'
import { jsonTransformSkill } from './json-transform.ts'

const skill = jsonTransformSkill()

function transform(expression: string, input: Json = null): Json {
  const step = skill.prepare({ expression, input })
  if (step.kind !== 'tool') throw new Error('not a tool')
  const context = { signal: new AbortController().signal, attempt: 1, idempotencyKey: '', secrets: { get: () => '' } }
  return step.run(context) as Json
}

describe('a transform gives plain JSON', () => {
  const input = {
    orders: [
      { n: 1, tags: ['a'] },
      { n: 2, tags: ['b', 'c'] },
    ],
  }

  test.each<[string, Json]>([
    ['$sum(orders.n)', 3],
    ['orders.n', [1, 2]],
    ['orders[0].tags', ['a']],
    ['orders.tags', ['a', 'b', 'c']],
    ['orders[n > 1].n', 2],
    ['nothing.here', null],
    ['{ "n": orders.n, "x": nothing }', { n: [1, 2] }],
    ['[]', []],
    ['$', input],
    ['$match("a-b", /[a-z]/).match', ['a', 'b']],
  ])('%s', (expression, expected) => {
    expect(transform(expression, input)).toStrictEqual(expected)
  })

  test('and keeps strings as they are', () => {
    const text = 'NUL \0, lone \ud800, é 🙂'
    expect(transform('$', text)).toBe(text)
  })

  test('of a key named __proto__ too', () => {
    expect(JSON.stringify(transform('$', JSON.parse('{"__proto__":{"x":1}}')))).toBe('{"__proto__":{"x":1}}')
    expect(({} as { x?: number }).x).toBeUndefined()
  })
})

describe('a transform is refused', () => {
  test.each([
    ['a.', /Unexpected end/],
    ['1 + "a"', /must evaluate to a number/],
    ['$nope(1)', /non-function/],
    ['function($x){ $x }', /circular|function/i],
    ['($f := function($n){ $f($n) + 1 }; $f(1))', /Stack overflow/],
    ['[1..9999999]', /sequence/],
  ])('%s', (expression, message) => {
    expect(() => transform(expression)).toThrow(
      expect.objectContaining({ code: 'INVALID_PLAN', kind: 'terminal', message: expect.stringMatching(message) }),
    )
  })

  test.each([
    ['($f := function($n){ $f($n) }; $f(1))', 'an endless loop'],
    ['$match($, /^(a+)+$/)', 'a regular expression that backtracks'],
  ])('after a second: %s', (expression) => {
    const startedAt = performance.now()
    expect(() => transform(expression, `${'a'.repeat(50)}!`)).toThrow(
      expect.objectContaining({ code: 'INVALID_PLAN', message: expect.stringContaining('longer than 1000 ms') }),
    )
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(transform('1 + 1')).toBe(2) // and the next one works
  })

  test.each(['a.', '{ "a": ', '$map(['])('before it runs, when it is no expression: %s', (expression) => {
    const message = expect.stringMatching(/^The JSONata expression is none: /)
    expect(() => skill.prepare({ expression })).toThrow(expect.objectContaining({ code: 'INVALID_PLAN', message }))
  })

  test('without an expression, or with one that is too long', () => {
    for (const params of [{}, { expression: '' }, { expression: ' '.repeat(20_000) }, { expression: '1', extra: 1 }]) {
      expect(() => skill.prepare(params as unknown as Json)).toThrow(expect.objectContaining({ code: 'INVALID_PLAN' }))
    }
  })
})
