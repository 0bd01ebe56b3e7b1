import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CliOptions, type CliResult, runCli, startCli } from './support/run-cli.ts'

const SOURCE = pathToFileURL('src/index.ts').href
const ZOD = import.meta.resolve('zod')

/** A project of a user: its configuration file, and the embedded database that all tests of this file share. */
const CONFIG = `
import { defineAgent, defineConfig } from '${SOURCE}'
import { z } from '${ZOD}'
const greeter = defineAgent({
  name: 'greeter', version: '1', input: z.object({ name: z.string() }),
  run: ({ input, step }) => step.do('greet', () => 'Hello, ' + input.name, { sideEffects: false }),
})
const failing = defineAgent({ name: 'failing', version: '2', run: () => { throw new Error('it broke \\u001b[31m') } })
const secret = defineAgent({ name: 'secret', version: '1', run: () => null })
export default defineConfig({
  agents: [greeter, failing, secret],
  authorize: ({ agent }) => agent !== 'secret' || 'nobody runs this',
})
`

const project = mkdtempSync(join(tmpdir(), 'concordat-cli-'))
const elsewhere = mkdtempSync(join(tmpdir(), 'concordat-cli-bare-'))
const run = (args: readonly string[], options: CliOptions = {}) => {
  return runCli(args, { cwd: project, ...options, env: { GOVERNANCE_PROFILE: 'STRICT', ...options.env } })
}
const bare = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runCli(args, { cwd: elsewhere, env })
const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

beforeAll(() => {
  writeFileSync(join(project, 'concordat.config.mts'), CONFIG)
})
afterAll(() => {
  for (const folder of [project, elsewhere]) rmSync(folder, { recursive: true, force: true })
})

describe('a command line that can’t be understood ends with 2 and says what to do', () => {
  test.each([
    ['without a command', [], 'a command is missing'],
    ['with an unknown command', ['run'], "unknown command 'run'"],
    ['with a noun and no verb', ['audit'], 'a command is missing'],
    ['with an unknown option', ['runs', 'list', '--lmit', '3'], "unknown option '--lmit'"],
    ['with a number that is none', ['runs', 'list', '--limit', 'many'], 'an integer from 1 to 1000'],
    ['with a status that is none', ['runs', 'list', '--status', 'done'], 'Allowed choices are queued'],
    ['with a time that is none', ['runs', 'submit', '--agent', 'a', '--at', 'tomorrow'], 'ISO 8601'],
    ['with an agent and a plan', ['runs', 'submit', '--agent', 'a', '--plan', 'p.json'], 'cannot be used with'],
    ['without the agent', ['runs', 'submit'], 'which agent?'],
    ['without the file', ['replay'], "missing required argument 'file'"],
    ['with a file that is not there', ['replay', 'nowhere.jsonl'], 'nowhere.jsonl'],
  ])('%s', async (_what, args, message) => {
    const result = await bare([...args, '--json'])
    expect(result.code).toBe(2)
    expect(error({ ...result, err: result.err.slice(result.err.indexOf('{\n')) })).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
    expect(readdirSync(elsewhere)).toEqual([])
  })

  test('for people: code, message, hint, next command', async () => {
    const { code, out, err } = await bare(['runs', 'list', '--lmit', '3'])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err.split('\n')).toEqual([
      "INVALID_REQUEST  unknown option '--lmit'",
      '  (Did you mean --limit?)',
      '  hint  Correct the named option or argument.',
      '  next  concordat runs list --help',
      '',
    ])
  })

  test('help and version are no errors', async () => {
    const [help, version] = await Promise.all([bare(['runs', 'submit', '--help']), bare(['--version'])])
    expect([help.code, version.code]).toEqual([0, 0])
    expect(help.out).toContain('--plan')
    expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('a configuration that is wrong ends with 3, naming file and reason', () => {
  test.each([
    ['that can’t be parsed', 'broken.config.ts', 'export default {', /broken\.config\.ts/],
    [
      'whose code throws',
      'throws.config.ts',
      'throw new TypeError("no such thing")',
      /throws\.config\.ts: TypeError: no such thing/,
    ],
    [
      'without a default export',
      'nothing.config.ts',
      'export const a = 1',
      /nothing\.config\.ts: it has no default export/,
    ],
    ['with an unknown key', 'extra.config.ts', 'export default { agent: [] }', /extra\.config\.ts: .*"agent"/s],
    [
      'whose agents are no list',
      'agents.config.ts',
      'export default { agents: {} }',
      /agents\.config\.ts: .*expected array/s,
    ],
    [
      'with an agent that is none',
      'agent.config.ts',
      'export default { agents: [1] }',
      /is not what defineAgent returns/,
    ],
    [
      'with an agent that can’t be',
      'bad.config.ts',
      `import { defineAgent } from '${SOURCE}'\nexport default { agents: [defineAgent({ name: '', version: '1', run: () => 1 })] }`,
      /bad\.config\.ts: INVALID_INPUT: The agent name/,
    ],
  ])('a file %s', async (_what, name, text, message) => {
    writeFileSync(join(project, name), text)
    const result = await run(['runs', 'list', '--config', name, '--json'])
    expect(result.code).toBe(3)
    expect(error(result)).toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringMatching(message) })
  })

  test('a file that was asked for and is not there', async () => {
    expect(await run(['doctor', '--config', 'mine.ts'])).toMatchObject({ code: 3 })
  })

  test('variables that contradict each other', async () => {
    const env = { GOVERNANCE_PROFILE: 'STRICT', TRANSACTION_COORDINATOR_ENABLED: 'false', EVENT_TRANSPORT: 'postgres' }
    const result = await bare(['worker', '--json'], env)
    expect(result.code).toBe(3)
    expect(error(result).message).toMatch(
      /loosens GOVERNANCE_PROFILE=STRICT.*EVENT_TRANSPORT=postgres needs DATABASE_URL/s,
    )
  })
})

test('a database that does not answer ends with 4', async () => {
  const env = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' }
  const [list, doctor] = await Promise.all([bare(['runs', 'list', '--json'], env), bare(['doctor'], env)])
  expect([list.code, doctor.code]).toEqual([4, 4])
  expect(error(list)).toMatchObject({ code: 'DATABASE_UNREACHABLE', next: 'concordat doctor' })
  expect(doctor.out).toContain('✗ the database did not answer')
})

test('doctor and migrate --check look at a folder without a database and create none', async () => {
  const [doctor, check] = await Promise.all([bare(['doctor', '--json']), bare(['migrate', '--check'])])
  expect([doctor.code, check.code]).toEqual([0, 1])
  expect(json(doctor).findings).toContainEqual(
    expect.objectContaining({ text: expect.stringContaining('no embedded database') }),
  )
  expect(check.out).toContain('every migration is pending')
  expect(readdirSync(elsewhere)).toEqual([])
})

describe('on the embedded database', () => {
  test('migrate brings the schema up, once', async () => {
    expect(json(await run(['migrate', '--json']))).toEqual({ applied: [expect.any(String)], pending: [] })
    expect(await run(['migrate', '--check'])).toMatchObject({ code: 0, out: expect.stringContaining('up to date') })
  })

  test('submit --wait executes the run here and prints its output; the same key is the same run', async () => {
    const args = ['runs', 'submit', '--agent', 'greeter', '--input', '-', '--key', 'k/[1]', '--wait', '--json']
    const first = await run(args, { input: '{"name":"Ann\\u0000\\ud800"}' })
    expect(first.code).toBe(0)
    expect(json(first)).toMatchObject({
      status: 'succeeded',
      output: 'Hello, Ann\0\ud800',
      deduplicated: false,
      error: null,
    })
    const again = await run(args, { input: '{"name":"Ann\\u0000\\ud800"}' })
    expect(json(again)).toEqual({ ...json(first), deduplicated: true })
    const other = await run(args, { input: '{"name":"Bob"}' })
    expect(other.code).toBe(2 - 1)
    expect(error(other).code).toBe('IDEMPOTENCY_CONFLICT')
  })

  test('submit --wait of a run that fails ends with 1 and tells its error, with nothing that moves the cursor', async () => {
    const { code, out, err } = await run(['runs', 'submit', '--agent', 'failing', '--wait'])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain('it broke')
    expect(err).not.toContain('\u001b')
    expect(err).toMatch(/next {2}concordat runs get [0-9a-f-]{36}/)
  })

  test.each([
    ['an unknown agent', ['--agent', 'greter'], 'UNKNOWN_AGENT', /known: "greeter"/],
    ['an unknown version', ['--agent', 'greeter', '--version', '7'], 'UNKNOWN_AGENT', /no version "7"/],
    ['an unknown tenant', ['--agent', 'failing', '--tenant', 'nobody'], 'UNKNOWN_TENANT', /"nobody"/],
    ['input against the schema', ['--agent', 'greeter', '--input', '{"nam":1}'], 'INVALID_INPUT', /name: /],
    ['input that is not JSON', ['--agent', 'greeter', '--input', '{nam'], 'INVALID_REQUEST', /--input is not JSON/],
    [
      'an input file that is not there',
      ['--agent', 'greeter', '--input', '@none.json'],
      'INVALID_REQUEST',
      /none\.json/,
    ],
    ['a plan with an unknown skill', ['--plan', 'unknown.json'], 'UNKNOWN_SKILL', /"http_cal".*"http_call"/],
    ['a plan that refers to a later step', ['--plan', 'later.json'], 'INVALID_REFERENCE', /steps\[0\]/],
  ])('%s is refused with 2 and leaves no run', async (_what, args, code, message) => {
    writeFileSync(join(project, 'unknown.json'), '{"steps":[{"skill":"http_cal","params":{}}]}')
    writeFileSync(
      join(project, 'later.json'),
      '{"steps":[{"skill":"wait","params":{"ms":"{{ steps.b.output }}"}},{"skill":"wait","name":"b","params":{"ms":1}}]}',
    )
    const result = await run(['runs', 'submit', ...args, '--json'])
    expect(result.code).toBe(2)
    expect(error(result)).toMatchObject({ code, message: expect.stringMatching(message) })
  })

  test('a plan in a file runs without an agent', async () => {
    const plan = {
      steps: [{ skill: 'json_transform', name: 'sum', params: { input: '{{ input }}', expression: '$sum(n)' } }],
    }
    writeFileSync(join(project, 'plan.json'), JSON.stringify(plan))
    const result = await run(['runs', 'submit', '--plan', 'plan.json', '--input', '{"n":[1,2,39]}', '--wait'])
    expect(result).toMatchObject({ code: 0, out: '42\n' })
  })

  test('a denied run ends with 1 and is there, with its footprint', async () => {
    const result = await run(['runs', 'submit', '--agent', 'secret', '--json'])
    expect(result.code).toBe(1)
    expect(error(result)).toMatchObject({
      code: 'AUTHORIZATION_DENIED',
      message: expect.stringContaining('nobody runs this'),
    })
    const { runId } = json(result)
    const report = json(await run(['runs', 'get', runId, '--json']))
    expect(report).toMatchObject({
      status: 'failed_policy',
      incident: { outcome: 'BLOCKED' },
      trace: { ending: 'ABORTED' },
    })
  })

  test('a queued run says what it waits for, is stopped at once, and its contract is met', async () => {
    const submitted = await run([
      'runs',
      'submit',
      '--agent',
      'greeter',
      '--input',
      '{"name":"Q"}',
      '--priority',
      '-5',
      '--metadata',
      '{"a":1}',
    ])
    expect(submitted.err).toContain('no worker is alive')
    const runId = submitted.out.trim()
    const queued = await run(['runs', 'get', runId])
    expect(queued.out).toMatch(/queued {2}AUTHORIZED[^]*waits for .*no worker is alive/)
    expect(await run(['runs', 'stop', runId, '--why', 'not needed', '--by', 'Eve'])).toMatchObject({
      code: 0,
      out: `Run ${runId} is cancelled.\n`,
    })
    expect(error(await run(['runs', 'stop', runId, '--json'])).code).toBe('RUN_ENDED')
    expect(error(await run(['runs', 'finalize', runId, '--json'])).code).toBe('RUN_ENDED')
    const reconciled = await run(['audit', 'reconcile', runId, '--json'])
    expect(reconciled.code).toBe(0)
    expect(json(reconciled)).toMatchObject({ result: 'COMPLETE', findings: [] })

    const report = json(await run(['runs', 'get', runId, '--json']))
    expect(report.transitions.map(({ from, to }: { from: string; to: string }) => [from, to])).toEqual([
      [null, 'CREATED'],
      ['CREATED', 'AUTHORIZED'],
      ['AUTHORIZED', 'FAILED'],
    ])
    expect(report.expectations).toHaveLength(5)
    expect(report.expectations[0]).toMatchObject({
      domain: 'logs',
      action: 'start_trace',
      deadlineMs: 5_000,
      status: 'ACKED',
    })
    expect(report.acks).toHaveLength(5)
    const audit = await run(['audit', 'get', runId])
    expect(audit.out).toMatch(/COMPLETE[^]*orchestrator\/finalize_run .*ACKED/)
  })

  test('lists are paged, filtered, and tell the next page', async () => {
    const first = json(await run(['runs', 'list', '--limit', '2', '--json']))
    expect(first.runs).toHaveLength(2)
    const second = json(await run(['--json', 'runs', 'list', '--limit', '100', '--before', first.next]))
    expect(second.runs.every(({ runId }: { runId: string }) => runId < first.next)).toBe(true)
    const filtered = await run(['runs', 'list', '--status', 'succeeded', '--agent', 'greeter'])
    expect(filtered.out.trim().split('\n')).toHaveLength(2)
  })

  test('a run that is not there, and ids that are none, are refused with 1', async () => {
    for (const id of ['01a20000-0000-7000-8000-000000000000', '../../etc', 'x']) {
      const result = await run(['runs', 'get', id, '--json'])
      expect(result.code).toBe(1)
      expect(error(result)).toMatchObject({ code: 'RUN_NOT_FOUND', next: 'concordat runs list' })
    }
  })

  test('a run reads as phases, steps, footprint, contract and events', async () => {
    const [{ runId }] = json(await run(['runs', 'list', '--agent', 'greeter', '--status', 'succeeded', '--json'])).runs
    const { out } = await run(['runs', 'get', runId])
    const sections = [
      'Phases',
      'GOVERNANCE_CHECK',
      'Steps  1',
      '✓  greet',
      '█',
      'Incident  SUCCESS',
      'Verdict   NOT_APPLICABLE',
      'Trace     COMPLETE',
      'Contract',
      'Events',
      'run.completed',
    ]
    for (const section of sections) expect(out).toContain(section)
    const steps = json(await run(['runs', 'steps', runId, '--json'])).steps
    expect(steps).toMatchObject([{ key: 'greet#1', status: 'succeeded', output: 'Hello, Ann\0\ud800' }])
    const tail = await run(['runs', 'tail', runId, '--since-start', '--json'])
    const events = tail.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events.map(({ type }) => type)).toEqual([
      'run.created',
      'run.started',
      'trace.started',
      'incident.created',
      'policy.evaluated',
      'trace.completed',
      'run.completed',
    ])
    expect(events[0]).toMatchObject({
      specversion: '1.0',
      subject: runId,
      tenantid: 'default',
      position: expect.any(Number),
    })
  })

  test('while a worker has it open, a second process is refused with 3; told to end, the worker drains with 0', async () => {
    const worker = startCli(['worker'], { cwd: project, env: { GOVERNANCE_PROFILE: 'STRICT' } })
    await worker.printed('concordat worker')
    const second = await run(['runs', 'list', '--json'])
    expect(second.code).toBe(3)
    expect(error(second).code).toBe('EMBEDDED_LOCKED')
    worker.child.kill('SIGTERM')
    const { code, err } = await worker.ended
    expect(code).toBe(0)
    expect(err).toContain('greeter@1, failing@2, secret@1, replay@1, plan@1')
    expect(err).toContain('Draining')
  })

  test('doctor shows what is effective and what is not enforced', async () => {
    const { code, out } = await run(['doctor'])
    expect(code).toBe(0)
    for (const text of [
      'GOVERNANCE_PROFILE',
      'the schema is up to date',
      'no worker is alive',
      'tenant default has no policy',
      'none is sent',
      'power loss',
    ]) {
      expect(out).toContain(text)
    }
    expect(out).not.toContain('\u001b')
  })
})
