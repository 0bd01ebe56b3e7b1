import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { replayInputSchema } from '../src/surface/replay/trajectory.ts'
import { describeOnDatabases } from './flow/support/databases.ts'
import { cliOn } from './support/cli-in-process.ts'
import { copyEmbeddedInto } from './support/embedded.ts'
import { codeBlocks, inlineCode, page } from './support/markdown.ts'
import { type CliResult, runCli, startCli } from './support/run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'concordat-replay-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const json = ({ out }: CliResult) => JSON.parse(out)
const nested = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

function trajectory(id: string, fields: object = {}) {
  const steps = [
    { index: 0, kind: 'llm', name: 'gpt', input: null, output: 'hi', tokens_in: 10, tokens_out: 2, cost_usd: 0.1 },
  ]
  return {
    source: 'handmade',
    id,
    agent: 'a',
    model: 'm',
    task: 't',
    steps,
    outcome: { status: 'succeeded', basis: 'label' },
    ...fields,
  }
}

/** As JSON writes it: lone surrogates as escapes, everything else as it is. */
const NASTY = [
  {
    index: 0,
    kind: 'tool',
    name: 'rm -rf /\u0000 [x]',
    input: null,
    output: 'NUL \u0000 esc \u001b[31m lone \ud800 end',
  },
  { index: 1, kind: 'tool', name: 'big', input: { a: nested(1_000) }, output: 'é'.repeat(1_000_000) },
  { index: 2, kind: 'llm', name: 'gpt', input: null, output: '', tokens_in: 1, tokens_out: 2, cost_usd: 0.2 },
  { index: 3, kind: 'user', name: 'ask', input: null, output: 'x', error: 'Traceback \u0000', error_from: 'text' },
]
const LINES = [
  trajectory('good'),
  trajectory('a/[b]|c:d+e', { steps: NASTY, task: '\u0000\ud800 <script>' }),
  trajectory('fails', { outcome: { status: 'failed', basis: 'reward', termination_reason: 'max_steps' } }),
]
const text = LINES.map((line) => JSON.stringify(line)).join('\n')

const goodFile = join(folder, 'good.jsonl.gz')
const mixedFile = join(folder, 'mixed.jsonl')
const cutFile = join(folder, 'cut.jsonl.gz')
beforeAll(() => {
  writeFileSync(goodFile, gzipSync(text))
  const wrong = [
    '{"source":"x"',
    '',
    JSON.stringify(trajectory('negative', { steps: [{ ...NASTY[2], tokens_in: -1 }] })),
  ]
  const otherGood = trajectory('good', { steps: [] })
  writeFileSync(mixedFile, [...wrong, JSON.stringify(trajectory('more')), JSON.stringify(otherGood)].join('\n'))
  const many = Array.from({ length: 2_000 }, (_, i) =>
    JSON.stringify(trajectory(`cut ${i}`, { noise: Math.sin(i) })),
  ).join('\n')
  const whole = gzipSync(many)
  writeFileSync(cutFile, whole.subarray(0, Math.floor(whole.length / 50)))
})

describeOnDatabases('replay', (open) => {
  let cli: ReturnType<typeof cliOn>
  let first: CliResult
  beforeAll(async () => {
    const { concordat } = await open({ started: false })
    cli = cliOn(concordat)
    first = await cli('replay', goodFile, '--json')
  })

  test('makes each line one run with its whole footprint, counted from the database', () => {
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(json(first)).toEqual({
      lines: 3,
      malformed: 0,
      refused: 0,
      duplicates: 0,
      submitted: 3,
      runs: { succeeded: 2, failed: 1, failed_policy: 0, cancelled: 0 },
      steps: 6,
      costUsd: 0.4,
      tokensIn: 21,
      tokensOut: 6,
      incidents: { FAILURE: 1, PARTIAL: 1, SUCCESS: 1 },
      evaluations: { NOT_APPLICABLE: 3 },
      traces: { COMPLETE: 3, ABORTED: 0 },
      audit: { COMPLETE: 3, INCOMPLETE: 0, STALE: 0 },
      outbox: { unpublished: 0 },
      events: {
        'incident.created': 3,
        'policy.evaluated': 3,
        'run.completed': 2,
        'run.created': 3,
        'run.failed': 1,
        'run.started': 3,
        'trace.completed': 3,
        'trace.started': 3,
      },
      seconds: expect.any(Number),
    })
  })

  test('again adds nothing and counts the same', async () => {
    const again = json(await cli('replay', goodFile, '--json', '--concurrency', '2'))
    expect(again).toEqual({ ...json(first), submitted: 0, seconds: expect.any(Number) })
  })

  test('keeps inputs, outputs and errors as they were', async () => {
    const { runs } = json(await cli('runs', 'list', '--agent', 'replay', '--json'))
    const reports = []
    for (const { runId } of runs) reports.push(json(await cli('runs', 'get', runId, '--json')))
    const nasty = reports.find(({ metadata }) => metadata.id === 'a/[b]|c:d+e')
    expect(nasty.metadata.task).toBe('\u0000\ud800 <script>')
    expect(nasty.input.steps).toEqual(NASTY)
    for (const [index, { input, output }] of NASTY.entries())
      expect(nasty.steps[index]).toMatchObject({ input, output })
    expect(nasty.steps[3].error.message).toBe('Traceback \u0000')
    expect(nasty.steps[0].attributes.recorded_name).toBe('rm -rf /\u0000 [x]')
    const failed = reports.find(({ metadata }) => metadata.id === 'fails')
    expect(failed).toMatchObject({ status: 'failed', error: { message: 'max_steps' } })
    expect((await cli('runs', 'get', nasty.runId)).out).not.toContain('\u001b')
  })

  test('tells malformed lines by file and line, goes on with the rest, and ends with 1', async () => {
    const result = await cli('replay', mixedFile, '--json')
    expect(result.code).toBe(1)
    expect(json(result)).toMatchObject({ lines: 4, malformed: 2, refused: 1, submitted: 1, runs: { succeeded: 1 } })
    const told = result.err.trim().split('\n')
    const message = (pattern: RegExp) => expect.stringMatching(pattern)
    const hint = expect.any(String)
    expect(told.map((line) => JSON.parse(line).error)).toMatchObject([
      { code: 'MALFORMED_TRAJECTORY', message: message(/mixed\.jsonl:1: .*JSON/), hint },
      { code: 'MALFORMED_TRAJECTORY', message: message(/mixed\.jsonl:3: steps\.0\.tokens_in: /), hint },
      {
        code: 'IDEMPOTENCY_CONFLICT',
        message: message(/mixed\.jsonl:5: trajectory "good" of "handmade" was replayed before with other content$/),
        hint: 'Give the changed trajectory an id of its own, or replay it as it was.',
        details: { file: mixedFile, line: 5, runId: expect.any(String) },
      },
    ])
  })

  test('tells people of malformed lines by code, with the hint once', async () => {
    const { out, err } = await cli('replay', mixedFile)
    expect(out).toMatch(/ of 4 lines, 2 malformed, 1 refused; /)
    expect(err.match(/^MALFORMED_TRAJECTORY {2}.*mixed\.jsonl:[13]: /gm)).toHaveLength(2)
    expect(err.match(/hint {2}Correct or remove the line/g)).toHaveLength(1)
    expect(err).toMatch(/^IDEMPOTENCY_CONFLICT {2}.*mixed\.jsonl:5: /m)
  })

  test('counts lines that repeat another one, and says of usage that nobody recorded so', async () => {
    const step = { index: 0, kind: 'tool', name: 'search', input: null, output: null }
    const lines = ['one', 'two', 'one', 'one'].map((id) => JSON.stringify(trajectory(`bare ${id}`, { steps: [step] })))
    const file = join(folder, 'bare.jsonl')
    writeFileSync(file, lines.join('\n'))
    const { code, out } = await cli('replay', file)
    expect(code).toBe(0)
    expect(out).toMatch(/^2 runs of 4 lines, 2 duplicates; 2 new, in /)
    expect(out).toMatch(/tokens +not recorded\n +cost +not recorded\n/)
    const used = { costUsd: 0, tokensIn: 0, tokensOut: 0 } // sums stay numbers for programs
    expect(json(await cli('replay', file, '--json'))).toMatchObject({ lines: 4, duplicates: 2, submitted: 0, ...used })
  })

  test('of a gzip file that is cut off replays what is there, and tells where it ends', async () => {
    const result = await cli('replay', cutFile, '--json')
    expect(result.code).toBe(1)
    const { lines, malformed, submitted } = json(result)
    expect({ malformed, submitted }).toEqual({ malformed: 1, submitted: lines - 1 })
    expect(lines).toBeGreaterThan(10)
    expect(result.err).toMatch(/cut\.jsonl\.gz:\d+: the gzip data is damaged or ends too early/)
  })

  test('reads as many lines as it is told to', async () => {
    expect(json(await cli('replay', goodFile, mixedFile, '--limit', '2', '--json'))).toMatchObject({
      lines: 2,
      submitted: 0,
    })
  })

  test('for people is a table', async () => {
    const { out } = await cli('replay', goodFile)
    expect(out).toMatch(/^3 runs of 3 lines; 0 new, in /)
    for (const line of ['runs         2 succeeded  1 failed', 'audit        3 COMPLETE', 'cost         $0.40'])
      expect(out).toContain(line)
  })

  test('takes the line that the guide shows', async () => {
    const file = join(folder, 'guide.jsonl')
    writeFileSync(
      file,
      codeBlocks(guide, 'jsonl')
        .map(({ text }) => text)
        .join(''),
    )
    expect(json(await cli('replay', file, '--json'))).toMatchObject({
      ...{ lines: 1, malformed: 0, runs: { failed: 1 }, steps: 3 },
      ...{ costUsd: 0.0004, tokensIn: 120, tokensOut: 9, incidents: { FAILURE: 1 }, audit: { COMPLETE: 1 } },
    })
  })

  test('for a tenant that is not there is refused with 2, before a line is read', async () => {
    const result = await cli('replay', goodFile, '--tenant', 'nobody', '--json')
    expect(result.code).toBe(2)
    expect(JSON.parse(result.err).error.code).toBe('UNKNOWN_TENANT')
  })
})

const guide = page('docs/guide/replay.md')

test('the guide of replay names every field that is read', () => {
  const { steps, outcome, ...own } = replayInputSchema.shape
  const fields = [own, { steps, outcome }, steps.element.shape, outcome.shape].flatMap((shape) => Object.keys(shape))
  expect(fields.filter((field) => !inlineCode(guide).includes(field))).toEqual([])
})

describe('a replay that does not come to its end', () => {
  const file = join(folder, 'long.jsonl')
  const runs = 600
  const steps = Array.from({ length: 12 }, (_, index) => ({
    index,
    kind: 'tool',
    name: 'work',
    input: { index },
    output: 'done',
  }))
  const options = { cwd: folder, env: { GOVERNANCE_PROFILE: 'STRICT' } }
  beforeAll(async () => {
    await copyEmbeddedInto(folder)
    const lines = Array.from({ length: runs }, (_, i) => JSON.stringify(trajectory(`long ${i}`, { steps })))
    lines.splice(runs / 3, 0, 'not a trajectory') // it is told when it is reached: in the middle of the work
    writeFileSync(file, lines.join('\n'))
  })

  test('drains on Ctrl-C and ends with 1; started again, also after a SIGKILL, it goes on where it stopped', async () => {
    const interrupted = startCli(['replay', file, '--concurrency', '8'], options)
    await interrupted.printed('long.jsonl:201')
    interrupted.child.kill('SIGINT')
    const { code, err } = await interrupted.ended
    expect(code).toBe(1)
    expect(err).toMatch(/Interrupted: \d+ lines read, .* The same command goes on where this one stopped/)

    const killed = startCli(['replay', file, '--concurrency', '8'], options)
    await killed.printed('long.jsonl:201')
    killed.child.kill('SIGKILL')
    await killed.ended

    const last = await runCli(['replay', file, '--json'], options)
    expect(last.err).toContain('the workers of some runs are gone: whoever has room goes on with their runs')
    const whole = json(last)
    expect(whole).toMatchObject({
      lines: runs + 1,
      malformed: 1,
      runs: { succeeded: runs },
      steps: steps.length * runs,
    })
    expect(whole).toMatchObject({ audit: { COMPLETE: runs }, traces: { COMPLETE: runs }, outbox: { unpublished: 0 } })
    expect(whole.submitted).toBeLessThan(runs)
  })
})
