import { describe, expect, test } from 'vitest'
import type { Json } from '../../foundation/json.ts'
import { referencesIn, resolveReferences } from './references.ts'

const scope = {
  input: { city: 'Bern', 'odd key': { __proto__x: 1 }, list: [{ x: null }, 2] },
  outputs: new Map<string, Json>([
    ['plan', { url: 'http://x.example/', tags: ['a', 'b'], braces: '{{ input.city }}' }],
    ['http_call#2', { body: [10, 20] }],
    ['my step.1', 'text'],
    ['__proto__', 'not a prototype'],
  ]),
}

describe('a string that is exactly one reference becomes the value itself', () => {
  test.each<[string, Json]>([
    ['{{ input }}', scope.input],
    ['{{input.list}}', scope.input.list],
    ['{{ input.list[0].x }}', null],
    ['{{ input.list.1 }}', 2],
    ['{{ input["odd key"]["__proto__x"] }}', 1],
    ['{{ steps.plan.output }}', scope.outputs.get('plan')!],
    ['{{ steps.plan.output.tags[1] }}', 'b'],
    ['{{ steps.http_call#2.output.body[1] }}', 20],
    ['{{ steps["my step.1"].output }}', 'text'],
    ['{{ steps.__proto__.output }}', 'not a prototype'],
  ])('%s', (text, value) => {
    expect(resolveReferences(text, scope)).toEqual(value)
  })
})

describe('inside a longer text', () => {
  test.each([
    ['Weather in {{ input.city }}!', 'Weather in Bern!'],
    ['{{ input.city }}{{ input.city }}', 'BernBern'],
    ['{{ input.city }} ', 'Bern '],
    ['tags: {{ steps.plan.output.tags }}', 'tags: ["a","b"]'],
    ['{"n":{{ input.list[1] }}}', '{"n":2}'],
    ['no reference }} here', 'no reference }} here'],
    ['', ''],
  ])('%j becomes %j', (text, expected) => {
    expect(resolveReferences(text, scope)).toBe(expected)
  })

  test('what came in is not searched for references again', () => {
    expect(resolveReferences('{{ steps.plan.output.braces }}', scope)).toBe('{{ input.city }}')
    expect(resolveReferences('> {{ steps.plan.output.braces }}', scope)).toBe('> {{ input.city }}')
  })
})

test('references are found and replaced at any depth, keys are left alone', () => {
  const params = { a: [{ b: '{{ input.city }}', '{{ input.city }}': true }], n: 1, z: null }
  expect(resolveReferences(params, scope)).toEqual({ a: [{ b: 'Bern', '{{ input.city }}': true }], n: 1, z: null })
  expect(referencesIn(params)).toEqual([{ text: 'input.city', step: null, path: ['city'] }])
})

test('a key named __proto__ stays a plain key', () => {
  const resolved = resolveReferences(JSON.parse('{"__proto__": {"x": "{{ input.city }}"}}'), scope)
  expect(JSON.stringify(resolved)).toBe('{"__proto__":{"x":"Bern"}}')
  expect(Object.getPrototypeOf(resolved)).toBe(Object.prototype)
})

describe('a reference without a value is refused', () => {
  test.each([
    '{{ input.nowhere }}',
    '{{ input.list[9] }}',
    '{{ input.list.length }}',
    '{{ input.city.length }}',
    '{{ input.constructor }}',
    '{{ input.__proto__ }}',
    '{{ input.toString }}',
    '{{ steps.later.output }}',
    '{{ steps.plan.output.url.x }}',
  ])('%s', (text) => {
    expect(() => resolveReferences(text, scope)).toThrow(expect.objectContaining({ code: 'INVALID_REFERENCE' }))
  })
})

test('an input without the value that is referred to: the hint names it', () => {
  expect(() => resolveReferences('{{ input.q }}', { input: {}, outputs: new Map() })).toThrow(
    expect.objectContaining({ hint: 'Give the run an input that has input.q, or correct the reference.' }),
  )
})

describe('what is not a reference is refused, and quickly', () => {
  test.each([
    '{{{{',
    '{{',
    '{{}}',
    '{{ }}',
    '{{{ input.city }}}',
    '{{ inputs.city }}',
    '{{ input. }}',
    '{{ input..city }}',
    '{{ input.city }',
    '{{ input[] }}',
    '{{ input[-1] }}',
    '{{ input["a] }}',
    '{{ input["\\q"] }}',
    '{{ steps }}',
    '{{ steps.plan }}',
    '{{ steps.plan.url }}',
    '{{ process.env.SECRET }}',
    '{{ input.city | upper }}',
    `{{ ${'input.a'.repeat(100_000)} }}`,
    `{{ input${'["'.repeat(400)} }}`,
    '{{'.repeat(1_000_000),
  ])('%#', (text) => {
    const startedAt = performance.now()
    expect(() => referencesIn(text)).toThrow(expect.objectContaining({ code: 'INVALID_REFERENCE' }))
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})

test('a text that references make too large is refused', () => {
  const large = { input: 'x'.repeat(1_000_000), outputs: new Map() }
  expect(() => resolveReferences('{{ input }} '.repeat(20), large)).toThrow(
    expect.objectContaining({ code: 'INPUT_TOO_LARGE' }),
  )
})
