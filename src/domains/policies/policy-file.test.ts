import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../limits.ts'
import { Expressions } from './expressions.ts'
import { lintPolicies } from './policy-file.ts'

const expressions = new Expressions()
const lint = (text: string) => lintPolicies(text, expressions)
/** Each finding as the text that its caret stands under, and its message. */
const found = (text: string) => {
  return lint(text).findings.map(({ line, column, length, message }) => {
    return [`${line}:${column} ${text.split('\n')[line - 1]?.slice(column - 1, column - 1 + length)}`, message]
  })
}
const steps = '- {name: a, metric: steps, max: 1}'

describe('a policy file', () => {
  it('can be YAML or JSON, with every default filled in', () => {
    const policy = { name: 'a', description: null, agent: null, effect: 'terminate', onChange: 'pause', enabled: true }
    const expected = [{ ...policy, metric: 'steps', max: 1, scope: 'run', window: 'run' }]
    expect(lint(`# ours\npolicies:\n${steps}\n`)).toEqual({ policies: expected, findings: [] })
    const json = '{\n\t"$schema": "x",\n\t"policies": [{ "name": "a", "metric": "steps", "max": 1 }]\n}'
    expect(lint(json)).toEqual({ policies: expected, findings: [] })
    const perMinute = lint('policies: [{name: a, metric: requests_per_minute, max: 60, scope: api_key}]')
    expect(perMinute.policies).toMatchObject([{ scope: 'api_key', window: 'minute' }])
  })

  it('is read strictly where it is to be JSON: its place is told from which on it is none', () => {
    const text = '{"policies": [\n  {"name": "a", "metric": "steps", "max": 1},\n]}'
    expect(lint(text).findings).toEqual([])
    const message = 'not JSON: expected a value'
    expect(lintPolicies(text, expressions, 'json').findings).toMatchObject([{ line: 3, column: 1, length: 1, message }])
    expect(lintPolicies(text.replace('},', '}'), expressions, 'json')).toMatchObject({ policies: [{}], findings: [] })
  })

  it.each([
    ['an unknown metric', 'policies:\n- name: a\n  metric: cost\n  max: 1', '3:11 cost', 'is not one of'],
    ['a negative limit', 'policies:\n- name: a\n  metric: steps\n  max: -1', '4:8 -1', 'negative'],
    ['no number', 'policies:\n- name: a\n  metric: steps\n  max: .nan', '4:8 .nan', 'number'],
    [
      'a misspelt field',
      'policies:\n- name: a\n  metric: steps\n  max: 1\n  agents: x',
      '5:3 agents',
      'no field "agents"',
    ],
    ['a missing field', 'policies:\n- name: a\n  metric: steps', '2:3 name', 'max is missing'],
    ['a name that is there twice', `policies:\n${steps}\n${steps}`, '3:10 a', 'there twice'],
    ['a key that is there twice', 'policies:\n- name: a\n  name: b', '3:3 name', 'the key "name" is there twice'],
    ['no policies', '{}', '1:1 {}', 'policies is missing'],
    ['policies under another name', 'policy: []', '1:1 policy', 'no field "policy"'],
    ['no list', 'policies: {}', '1:11 {}', 'policies must be a list, not a map of fields'],
    [
      'a list at the top',
      steps,
      '1:1 - {name: a, metric: steps, max: 1}',
      'the file must be a map of fields, not a list',
    ],
    ['no policy', 'policies:\n- a text', '2:3 a text', 'a policy must be a map of fields, not a text'],
    [
      'a number for a text',
      'policies:\n- {name: 7, metric: steps, max: 1}',
      '2:10 7',
      'name must be a text, not a number',
    ],
    ['a text for a number', 'policies:\n- {name: a, metric: steps, max: "1"}', '2:33 "1"', 'max must be a number'],
    [
      'a limit beside a condition',
      'policies:\n- {name: a, max: 1, when: "true"}',
      '2:13 max',
      "can't stand beside when",
    ],
    ['tabs', 'policies:\n\t- name: a', '2:1 \t', 'a tab can’t indent'],
    ['a list that is open', 'policies: [', '1:12 ', '] is missing'],
    ['an expression', 'policies:\n- name: a\n  when: run.foo > 1', '3:13 foo', 'there is no fact run.foo'],
    ['a quoted one', `policies:\n- name: a\n  when: 'run.foo > 1'`, '3:14 foo', 'there is no fact run.foo'],
    ['one in JSON', '{"policies": [{"name": "a", "when": "run.foo > 1"}]}', '1:42 foo', 'there is no fact run.foo'],
    [
      'a block',
      'policies:\n- name: a\n  when: |\n    run.steps > 1\n      && run.foo > 1',
      '5:14 foo',
      'there is no fact run.foo',
    ],
    ['a folded one', 'policies:\n- name: a\n  when: >\n    true &&\n    run.foo > 1', '3:9 >', 'at its character 13'],
    [
      'an escaped one',
      'policies:\n- name: a\n  when: "\\"a\\" == run.foo"',
      '3:9 "\\"a\\" == run.foo"',
      'character 12',
    ],
    ['what is no YAML', 'policies: "', '1:12 ', 'no YAML: Missing closing'],
    ['an alias', 'a: &x 1\npolicies: *x', '2:11 *x', 'aliases are not allowed'],
    ['a tag', 'policies: !!js/function x', '1:11 !!js/function', 'tags are not allowed'],
    ['nothing', '# empty', '1:1 #', 'the file is empty'],
    ['two documents', 'policies: []\n---\npolicies: []', '2:1 -', 'second document'],
  ])('is refused at the place: %s', (_what, text, place, message) => {
    const [first] = found(text)
    expect(first?.[0]).toBe(place)
    expect(first?.[1]).toContain(message)
    expect(lint(text).policies).toEqual([])
  })

  it.each([
    ['metric: cost', 'cost_usd'],
    ['metric: steps, max: 1, efect: warn', 'effect'],
    ['metric: steps, Max: 1', 'max'],
    ['metric: steps, max: 1, scope: tenants, window: day', 'tenant'],
    ['when: "step.tol == run.agent"', 'step.tool'],
    ['when: "run.cost > 1.0"', 'run.cost_usd'],
  ])('tells what was probably meant: %s', (fields, meant) => {
    expect(lint(`policies: [{name: a, ${fields}}]`).findings.map(({ hint }) => hint)).toContain(
      `Did you mean ${meant}?`,
    )
  })

  it('tells all its problems at once, fifty at the most', () => {
    const wrong = Array.from({ length: 60 }, (_, i) => `- {name: p${i}, metric: none, max: 1}`)
    expect(lint(`policies:\n${wrong.slice(0, 3).join('\n')}`).findings.map(({ line }) => line)).toEqual([2, 3, 4])
    expect(lint(`policies:\n${wrong.join('\n')}`).findings).toHaveLength(limits.policyFindingsMax)
  })

  const hostile: readonly [string, string][] = [
    ['too large', '#'.repeat(limits.policyFileBytesMax + 1)],
    ['deep lists', '['.repeat(100_000)],
    ['deep blocks', '- '.repeat(50_000)],
    ['deep keys', '? '.repeat(50_000)],
    ['keys in keys', 'a: b: c: '.repeat(10_000)],
    ['many keys', Array.from({ length: 12_000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['laughing', `a: &a [x]\n${Array.from({ length: 50 }, (_, i) => `b${i}: [*a, *a]`).join('\n')}`],
    ['many documents', '---\n'.repeat(30_000)],
    ['many closers', ']'.repeat(60_000)],
    ['many anchors', '&a '.repeat(40_000)],
    ['a prototype', '{"__proto__": {"policies": []}, "constructor": 1}'],
    ['a quote without end', `policies: "${'\\'.repeat(60_000)}`],
    ['lone surrogates and controls', 'policies:\n- {name: "\\ud800\\u0000", metric: steps, max: 1}'],
  ]
  it.each(hostile)('that is hostile is refused soon, and nothing is thrown: %s', (_what, text) => {
    const startedAt = performance.now()
    const { policies, findings } = lint(text)
    expect(policies).toEqual([])
    expect(findings.length).toBeGreaterThan(0)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  it('never throws, whatever the text is, and each place is inside of it', () => {
    const words = ['policies:', '\n', '  ', '- ', 'name: ', 'a', 'when: ', 'run.steps', '> 1', '|', '"', "'", '{', '}']
    const more = ['[', ']', ',', ':', '&x', '*x', '!t', '%', '#', '\t', '\r\n', '---', 'max: ', '1e999', '\0', '\ufeff']
    const soup = fc.array(fc.constantFrom(...words, ...more), { maxLength: 40 }).map((tokens) => tokens.join(''))
    fc.assert(
      fc.property(fc.oneof(soup, fc.string({ unit: 'binary', maxLength: 200 })), (text) => {
        const asJson = lintPolicies(text, expressions, 'json')
        for (const { line, column, length } of [...lint(text).findings, ...asJson.findings]) {
          expect(line).toBeLessThanOrEqual(text.split('\n').length)
          expect(Math.min(line, column, length)).toBeGreaterThanOrEqual(1)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})
