import { describe, expect, test } from 'vitest'
import { limits } from '../../limits.ts'
import { parseTrajectory, readTrajectory, type Trajectory } from './trajectory.ts'

const base = {
  source: 'tau-bench',
  id: 'a/b [c] | d: +',
  agent: 'airline',
  model: 'gpt-4o',
  task: 'Book a flight',
  steps: [{ index: 0, kind: 'tool', name: 'book', input: null, output: 'ok' }],
  outcome: { status: 'succeeded', basis: 'reward', reward: 1 },
  totals: { steps: 1 },
}

function trajectoryOf(line: string): Trajectory {
  const parsed = parseTrajectory(line, 'x.jsonl', 7)
  if ('malformed' in parsed) throw parsed.malformed
  return parsed
}

function reasonOf(line: string): string {
  const parsed = parseTrajectory(line, 'x.jsonl', 7)
  if (!('malformed' in parsed)) throw new Error('the line was accepted')
  expect(parsed.malformed).toMatchObject({ code: 'MALFORMED_TRAJECTORY', details: { file: 'x.jsonl', line: 7 } })
  expect(parsed.malformed.message).toMatch(/^x\.jsonl:7: /)
  return parsed.malformed.message.slice('x.jsonl:7: '.length)
}

const withStep = (fields: object) =>
  JSON.stringify({ ...base, steps: [base.steps[0], { ...base.steps[0], ...fields }] })

describe('a line becomes a run', () => {
  test('with the steps and the outcome as its input, the rest as its metadata', () => {
    const { input, metadata } = trajectoryOf(
      JSON.stringify({ ...base, started_at: '2026-01-01', extra: { kept: true } }),
    )
    expect(input).toEqual({ source: base.source, id: base.id, steps: base.steps, outcome: base.outcome })
    const { steps: _, ...others } = base
    expect(metadata).toEqual({ ...others, started_at: '2026-01-01', extra: { kept: true } })
  })

  test('with a key that depends on source and id alone', () => {
    const key = trajectoryOf(JSON.stringify(base)).idempotencyKey
    expect(key).toMatch(/^replay:[0-9a-f]{64}$/)
    expect(trajectoryOf(JSON.stringify({ ...base, task: 'other' })).idempotencyKey).toBe(key)
    expect(
      trajectoryOf(JSON.stringify({ ...base, source: 'tau-bencha/', id: 'b [c] | d: +' })).idempotencyKey,
    ).not.toBe(key)
  })

  test.each([
    [
      'nothing but what must be there',
      JSON.stringify({ source: 's', id: 'i', steps: [], outcome: { status: 'failed' } }),
    ],
    ['null for what was not recorded', withStep({ tokens_in: null, cost_usd: null, error: null, latency_ms: null })],
    ['fields that nobody knows', withStep({ span: [1], thought: 'hm' })],
    ['an index out of order', withStep({ index: 0 })],
    [
      'digits in a text, and a large number that stays',
      JSON.stringify(base).replace('"ok"', '["12345678901234567890", 1234567890123456]'),
    ],
    ['surrounding white space', `  ${JSON.stringify(base)}\r`],
  ])('with %s', (_what, line) => {
    expect(trajectoryOf(line).input.source).toBeDefined()
  })

  test.each([
    ['NUL, C1 and ANSI escapes', 'a\0b\u0085\u001b[31m\r'],
    ['lone surrogates', '\ud83d and \ude00'],
    ['2 MB of text', 'é'.repeat(1_000_000)],
  ])('with %s, unchanged', (_what, output) => {
    const { input } = trajectoryOf(JSON.stringify({ ...base, steps: [{ ...base.steps[0], output }] }))
    expect((input.steps as { output: string }[])[0]?.output === output).toBe(true)
  })

  test('with 1,000 levels of nesting', () => {
    const deep = `${'['.repeat(1_000)}${']'.repeat(1_000)}`
    const line = JSON.stringify(base).replace('"ok"', deep)
    expect(JSON.stringify(trajectoryOf(line).input)).toContain(deep)
  })

  test('with the last one of duplicate keys, as JSON is read in JavaScript', () => {
    const line = JSON.stringify(base).replace('"output":"ok"', '"output":"first","output":"last"')
    expect((trajectoryOf(line).input.steps as { output: string }[])[0]?.output).toBe('last')
  })

  test('with a key named __proto__ as a plain key', () => {
    const line = JSON.stringify(base).replace('"output":"ok"', '"output":{"__proto__":{"x":1}}')
    expect(JSON.stringify(trajectoryOf(line).input)).toContain('{"__proto__":{"x":1}}')
  })

  test('with metadata that stays in its bounds: long texts cut, what is too large counted', () => {
    const line = JSON.stringify({ ...base, task: 'x'.repeat(5_000), huge: Array(50_000).fill('xyz'), small: 1 })
    const { metadata } = trajectoryOf(line)
    expect(metadata.task).toBe(`${'x'.repeat(999)}…`)
    expect(metadata).toMatchObject({ source: base.source, id: base.id, omitted: expect.any(Number) })
    expect(metadata).not.toHaveProperty('huge')
    expect(Buffer.byteLength(JSON.stringify(metadata))).toBeLessThanOrEqual(limits.metadataBytesMax)
  })
})

describe('a line is malformed', () => {
  test.each([
    ['cut off', JSON.stringify(base).slice(0, 50), /JSON/],
    ['empty', '', /JSON/],
    ['not an object', '[1]', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
    ['a text', '"x"', /not a JSON object/],
    ['without an id', JSON.stringify({ ...base, id: undefined }), /^id: /],
    ['with a number for an id', JSON.stringify({ ...base, id: 5 }), /^id: /],
    ['with an endless id', JSON.stringify({ ...base, id: 'x'.repeat(1_001) }), /^id: /],
    ['without an outcome', JSON.stringify({ ...base, outcome: undefined }), /^outcome: /],
    [
      'with an outcome that is neither',
      JSON.stringify({ ...base, outcome: { status: 'maybe' } }),
      /^outcome\.status: /,
    ],
    ['with steps that are no list', JSON.stringify({ ...base, steps: {} }), /^steps: /],
    ['with a step of an unknown kind', withStep({ kind: 'dream' }), /^steps\.1\.kind: /],
    ['with a step without a name', withStep({ name: '' }), /^steps\.1\.name: /],
    ['with negative tokens', withStep({ tokens_in: -5 }), /^steps\.1\.tokens_in: /],
    ['with half a token', withStep({ tokens_out: 1.5 }), /^steps\.1\.tokens_out: /],
    ['with tokens as text', withStep({ tokens_in: '5' }), /^steps\.1\.tokens_in: /],
    ['with an absurd number of tokens', withStep({ tokens_in: 1e15 }), /^steps\.1\.tokens_in: /],
    ['with a negative cost', withStep({ cost_usd: -0.01 }), /^steps\.1\.cost_usd: /],
    ['with an absurd cost', withStep({ cost_usd: 1e10 }), /^steps\.1\.cost_usd: /],
    ['with a negative latency', withStep({ latency_ms: -1 }), /^steps\.1\.latency_ms: /],
    ['with an error that is no text', withStep({ error: { code: 1 } }), /^steps\.1\.error: /],
    [
      'with too many steps',
      JSON.stringify({ ...base, steps: Array(limits.stepsPerRunMax + 1).fill(base.steps[0]) }),
      /^steps: /,
    ],
    [
      'with an integer that changes',
      JSON.stringify(base).replace('"ok"', '[-12345678901234567890]'),
      /-12345678901234567890/,
    ],
    ['with a number that overflows', JSON.stringify(base).replace('"ok"', '1e999'), /Infinity/],
    ['nested 100,000 levels deep', JSON.stringify(base).replace('"ok"', '['.repeat(1e5) + ']'.repeat(1e5)), /levels/],
    [
      'with an output over 4 MiB',
      JSON.stringify(base).replace('"ok"', `"${'x'.repeat(4_194_305)}"`),
      /output of steps\.0/,
    ],
    [
      'larger than an input may be',
      withStep({ input: 'x'.repeat(4_000_000), output: ['é'.repeat(3_000_000)] }),
      /8388608 bytes/,
    ],
  ])('%s', (_what, line, reason) => {
    expect(reasonOf(line)).toMatch(reason)
  })

  test('and says so in a text that a terminal can show', () => {
    const reason = reasonOf(`{"a":\0\ud800${'x'.repeat(10_000)}`)
    expect(reason.length).toBeLessThanOrEqual(500)
    expect(reason).not.toContain('\0')
  })

  test('where it could not even be read', () => {
    const line = { lineNumber: 3, bytesRead: 9, unreadable: 'the line is not UTF-8' }
    expect(readTrajectory(line, 'x.jsonl')).toMatchObject({
      malformed: { code: 'MALFORMED_TRAJECTORY', message: 'x.jsonl:3: the line is not UTF-8' },
    })
  })
})
