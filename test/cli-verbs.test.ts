import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineAgent, type Tx } from '../src/index.ts'
import type { TestRuntime } from '../src/testing/testing.ts'
import { describeOnDatabases } from './flow/support/databases.ts'
import { cliOn } from './support/cli-in-process.ts'
import type { CliResult } from './support/run-cli.ts'

const greeter = defineAgent({
  name: 'greeter',
  version: '1',
  input: z.object({ name: z.string() }),
  run: ({ input, step }) => step.do('greet', () => `Hello, ${input.name}`, { sideEffects: false }),
})
const failing = defineAgent({
  name: 'failing',
  version: '2',
  run: () => {
    throw new Error('it broke \u001b[31m\0')
  },
})
const secret = defineAgent({ name: 'secret', version: '1', run: () => null })

const folder = mkdtempSync(join(tmpdir(), 'concordat-verbs-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, content: unknown): string {
  const path = join(folder, name)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

describeOnDatabases('the commands on runs', (open) => {
  let cli: ReturnType<typeof cliOn>
  let runtime: TestRuntime
  let database: Tx
  /** The same while a worker is alive. */
  let cliWithWorker: ReturnType<typeof cliOn>
  beforeAll(async () => {
    runtime = await open({
      agents: [greeter, failing, secret],
      authorize: ({ agent }) => agent !== 'secret' || 'nobody runs this',
      started: false,
    })
    cli = cliOn(runtime.concordat)
    database = runtime.database
    cliWithWorker = async (...args) => {
      await runtime.start()
      return cli(...args).finally(() => runtime.concordat.stop())
    }
  })

  const submitted = async (...args: string[]): Promise<string> => {
    return json(await cli('runs', 'submit', '--json', ...args)).runId
  }

  describe('a submission that is wrong ends with 2 and leaves no run', () => {
    const later = [
      { skill: 'wait', params: { ms: '{{ steps.b.output }}' } },
      { skill: 'wait', name: 'b', params: { ms: 1 } },
    ]
    const deep = `${'['.repeat(2_001)}${']'.repeat(2_001)}`
    test.each([
      ['an unknown agent', ['--agent', 'greter'], 'UNKNOWN_AGENT', /known: "greeter"/],
      [
        'an empty key and tenant',
        ['--agent', 'greeter', '--key', '', '--tenant', ''],
        'INVALID_REQUEST',
        /^the request is not valid: tenant: must not be empty; idempotencyKey: must not be empty$/,
      ],
      ['an unknown version', ['--agent', 'greeter', '--version', '7'], 'UNKNOWN_AGENT', /no version "7"/],
      ['an unknown tenant', ['--agent', 'failing', '--tenant', 'nobody'], 'UNKNOWN_TENANT', /"nobody"/],
      ['input against the schema', ['--agent', 'greeter', '--input', '{"nam":1}'], 'INVALID_INPUT', /name: /],
      [
        'a number that can not be kept',
        ['--agent', 'greeter', '--input', '{"id":12345678901234567890}'],
        'INVALID_REQUEST',
        /12345678901234567890, which can not/,
      ],
      ['input that is not JSON', ['--agent', 'greeter', '--input', '{nam'], 'INVALID_REQUEST', /--input is not JSON/],
      [
        'an input file that is not there',
        ['--agent', 'greeter', '--input', '@none.json'],
        'INVALID_REQUEST',
        /none\.json/,
      ],
      [
        'metadata that is too large',
        ['--agent', 'failing', '--metadata', `"${'x'.repeat(70_000)}"`],
        'INPUT_TOO_LARGE',
        /metadata/,
      ],
      [
        'input that is nested too deep',
        ['--agent', 'failing', '--input', `@${file('deep.json', deep)}`],
        'INPUT_TOO_LARGE',
        /^The --input from .*deep\.json is nested more than 2000 levels/,
      ],
      [
        'a plan that is nested too deep',
        ['--plan', file('deep-plan.json', deep)],
        'INPUT_TOO_LARGE',
        /^The --plan from .*deep-plan\.json is nested/,
      ],
      [
        'a plan that is too large',
        ['--plan', file('large-plan.json', `"${'x'.repeat(9_000_000)}"`)],
        'INPUT_TOO_LARGE',
        /^The --plan from .*large-plan\.json has 9000002 bytes/,
      ],
      ['an empty key', ['--agent', 'failing', '--key', ''], 'INVALID_REQUEST', /idempotencyKey/],
      ['a plan that is not JSON', ['--plan', file('text.json', 'steps:')], 'INVALID_REQUEST', /text\.json is not JSON/],
      [
        'a plan with an unknown skill',
        ['--plan', file('unknown.json', { steps: [{ skill: 'http_cal' }] })],
        'UNKNOWN_SKILL',
        /"http_cal".*"http_call"/,
      ],
      [
        'a plan that refers to a later step',
        ['--plan', file('later.json', { steps: later })],
        'INVALID_REFERENCE',
        /steps\[0\]/,
      ],
      [
        'an over-long plan',
        ['--plan', file('long.json', { steps: Array(513).fill(later[1]) })],
        'PLAN_TOO_LONG',
        /513 steps/,
      ],
    ])('%s', async (_what, args, code, message) => {
      const before = json(await cli('runs', 'list', '--json')).runs.length
      const result = await cli('runs', 'submit', ...args, '--json')
      expect(result.code).toBe(2)
      expect(error(result)).toMatchObject({ code, message: expect.stringMatching(message), hint: expect.any(String) })
      expect(json(await cli('runs', 'list', '--json')).runs).toHaveLength(before)
    })
  })

  test('an agent or a tenant that is not there leads to where the ones are that are there', async () => {
    const agent = await cli('runs', 'submit', '--agent', 'greter', '--json')
    expect(error(agent).next).toBe('concordat doctor')
    const runId = '01a20000-0000-7000-8000-000000000000'
    for (const command of [
      ['runs', 'list'],
      ['runs', 'get', runId],
      ['audit', 'get', runId],
      ['audit', 'reconcile', runId],
    ]) {
      const { code, next } = error(await cli(...command, '--tenant', 'nobody', '--json'))
      expect({ code, next }).toEqual({ code: 'UNKNOWN_TENANT', next: 'concordat tenants list' })
    }
  })

  test('--wait prints the output of the run; the same key is the same run, another request under it is refused', async () => {
    const args = ['runs', 'submit', '--agent', 'greeter', '--key', 'k/[1]', '--wait', '--json', '--input']
    const input = file('nasty.json', '{"name":"Ann\\u0000\\ud800"}')
    const first = await cliWithWorker(...args, `@${input}`)
    expect(first.code).toBe(0)
    expect(json(first)).toMatchObject({
      status: 'succeeded',
      output: 'Hello, Ann\0\ud800',
      deduplicated: false,
      error: null,
    })
    expect(json(await cliWithWorker(...args, `@${input}`))).toEqual({ ...json(first), deduplicated: true })
    const other = await cli(...args, '{"name":"Bob"}')
    expect(error(other).code).toBe('IDEMPOTENCY_CONFLICT')
    expect(await cliWithWorker('runs', 'submit', '--agent', 'greeter', '--input', '{"name":"Eve"}', '--wait')).toEqual({
      code: 0,
      out: '"Hello, Eve"\n',
      err: expect.any(String),
    })
  })

  test('--wait for a run that fails ends with 1 and tells its error, with nothing that moves the cursor', async () => {
    const { code, out, err } = await cliWithWorker('runs', 'submit', '--agent', 'failing', '--wait')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/^AGENT_FAILED {2}it broke/m)
    expect(err).not.toContain('report it')
    expect(err).not.toContain('\u001b')
    expect(err).toMatch(/next {2}concordat runs get [0-9a-f-]{36}/)
    const asJson = await cliWithWorker('runs', 'submit', '--agent', 'failing', '--wait', '--json')
    expect(asJson.code).toBe(1)
    expect(json(asJson)).toMatchObject({
      status: 'failed',
      reason: 'AGENT_FAILED',
      error: { message: 'it broke \u001b[31m\0' },
    })
  })

  test('a plan in a file runs without an agent', async () => {
    const plan = {
      steps: [{ skill: 'json_transform', name: 'sum', params: { input: '{{ input }}', expression: '$sum(n)' } }],
    }
    const result = await cliWithWorker(
      'runs',
      'submit',
      '--plan',
      file('plan.json', plan),
      '--input',
      '{"n":[1,2,39]}',
      '--wait',
    )
    expect(result).toMatchObject({ code: 0, out: '42\n' })
    const [{ runId }] = json(await cli('runs', 'list', '--agent', 'plan', '--json')).runs
    expect(json(await cli('runs', 'steps', runId, '--json')).steps).toMatchObject([
      { key: 'sum#1', kind: 'tool', input: { input: { n: [1, 2, 39] } }, output: 42 },
    ])
  })

  test('a denied run ends with 1 and is there, with its footprint', async () => {
    const result = await cli('runs', 'submit', '--agent', 'secret', '--json')
    expect(result.code).toBe(1)
    expect(error(result)).toMatchObject({
      code: 'AUTHORIZATION_DENIED',
      message: expect.stringContaining('nobody runs this'),
    })
    const report = json(await cli('runs', 'get', json(result).runId, '--json'))
    expect(report).toMatchObject({
      status: 'failed_policy',
      incident: { outcome: 'BLOCKED' },
      trace: { ending: 'ABORTED' },
    })
  })

  test('a queued run says what it waits for, is stopped at once, and its contract is met', async () => {
    const args = ['--agent', 'greeter', '--input', '{"name":"Q"}', '--priority', '-5', '--metadata', '{"a":1}']
    const { out, err } = await cli('runs', 'submit', ...args)
    expect(err).toContain('no worker is alive')
    const runId = out.trim()
    expect((await cli('runs', 'get', runId)).out).toMatch(/queued {2}AUTHORIZED[\s\S]*waits for .*no worker is alive/)
    const stopped = await cli('runs', 'stop', runId, '--why', 'not needed', '--by', 'Eve')
    expect(stopped).toMatchObject({ code: 0, out: `Run ${runId} is cancelled.\n` })
    for (const verb of ['stop', 'finalize']) {
      const again = await cli('runs', verb, runId, '--json')
      expect(again.code).toBe(1)
      expect(error(again).code).toBe('RUN_ENDED')
    }
    const reconciled = await cli('audit', 'reconcile', runId, '--json')
    expect(reconciled.code).toBe(0)
    expect(json(reconciled)).toMatchObject({ result: 'COMPLETE', findings: [] })
  })

  test('a run that is not before its time waits for it', async () => {
    const runId = await submitted('--agent', 'failing', '--at', '2999-01-31')
    expect((await cli('runs', 'get', runId)).out).toContain('its time: due 2999-01-31 00:00:00.000 UTC')
  })

  test('get --json has transitions, expectations and acks under their fixed names', async () => {
    const runId = await submitted('--agent', 'greeter', '--input', '{"name":"R"}')
    await cli('runs', 'stop', runId)
    const report = json(await cli('runs', 'get', runId, '--json'))
    expect(report.transitions.map(({ from, to }: { from: string; to: string }) => [from, to])).toEqual([
      [null, 'CREATED'],
      ['CREATED', 'AUTHORIZED'],
      ['AUTHORIZED', 'FAILED'],
    ])
    expect(report.transitions[0]).toEqual({ from: null, to: 'CREATED', at: expect.any(String), why: 'submitted' })
    expect(report.expectations).toHaveLength(5)
    expect(report.expectations[0]).toMatchObject({
      domain: 'logs',
      action: 'start_trace',
      deadlineMs: 5_000,
      dueAt: null,
      status: 'ACKED',
    })
    expect(report.acks).toHaveLength(5)
    expect(report.acks[0]).toMatchObject({
      domain: expect.any(String),
      action: expect.any(String),
      status: 'SUCCESS',
      attempt: 1,
    })
    expect((await cli('audit', 'get', runId)).out).toMatch(/orchestrator\/finalize_run .*\d\d:\d\d:\d\d/)
  })

  test('an ack that is missing is found, and ends reconcile with 1', async () => {
    const runId = await submitted('--agent', 'greeter', '--input', '{"name":"S"}')
    await cli('runs', 'stop', runId)
    await database.query(`delete from concordat.audit_acks where run_id = $1 and action = 'create_incident'`, [runId])
    const result = await cli('audit', 'reconcile', runId)
    expect(result.code).toBe(1)
    expect(result.out).toMatch(/INCOMPLETE[\s\S]*missing {2}incidents\/create_incident/)
    expect((await cli('audit', 'get', runId)).out).toMatch(/create_incident .* missing/)
  })

  test('a run whose row is deleted is found all the same, and says so', async () => {
    const runId = await submitted('--agent', 'greeter', '--input', '{"name":"D"}')
    await cli('runs', 'stop', runId)
    await database.query('delete from concordat.runs where run_id = $1', [runId])
    expect((await cli('audit', 'reconcile', runId)).code).toBe(1)
    const { out } = await cli('audit', 'get', runId)
    expect(out).toMatch(/gone[\s\S]*INCOMPLETE[\s\S]*missing {2}orchestrator\/finalize_run: its run is not there/)
    expect(out).toMatch(/Acks that are left: .*incidents\/create_incident SUCCESS[\s\S]* MISSING_ACK +firing /)
    const get = error(await cli('runs', 'get', runId, '--json'))
    expect(get).toMatchObject({ code: 'RUN_NOT_FOUND', hint: expect.stringContaining(`concordat audit get ${runId}`) })
  })

  test('what is not JSON is told where it came from: the shell, or a file', async () => {
    const hintOf = async (...args: string[]) => error(await cli('runs', 'submit', ...args, '--json')).hint
    expect(await hintOf('--agent', 'greeter', '--input', '{nam')).toMatch(/^Quote it for the shell, as in --input /)
    expect(await hintOf('--plan', file('broken.json', '{'))).toBe('Correct the file: it must be JSON.')
  })

  test('a run that a domain refuses says which, and is finalised by hand once the domain agrees', async () => {
    await database.query(`
      create function concordat.refuse() returns trigger language plpgsql as $$ begin raise exception 'no room'; end $$`)
    await database.query(
      'create trigger refuse before insert on concordat.incidents for each row execute function concordat.refuse()',
    )
    const runId = await submitted('--agent', 'failing')
    await runtime.start()
    await expect.poll(async () => json(await cli('runs', 'get', runId, '--json')).pending?.blockedBy).toBe('incidents')
    await runtime.concordat.stop()
    const blocked = await cli('runs', 'get', runId)
    expect((await cli('runs', 'list', '--parked')).out).toMatch(new RegExp(`^ *${runId} .* running parked `, 'm'))
    const parked = json(await cli('runs', 'list', '--parked', '--json')).runs
    expect(parked).toMatchObject([{ runId, status: 'running', phase: 'FINALIZING', parked: true }])
    expect(blocked.out).toMatch(
      /FINALIZING[\s\S]*blocked .*incidents refused after NOT_STARTED: no room; \d+ tries, next try/,
    )
    expect(error(await cli('runs', 'stop', runId, '--json'))).toMatchObject({
      code: 'RUN_ENDED',
      message: `run ${runId} can't be stopped any more: it is being finalised (FINALIZING)`,
      hint: expect.stringMatching(/^It ends by itself once no domain refuses it/),
      next: `concordat runs finalize ${runId}`,
    })
    const reconciled = async () => {
      const { code, out } = await cli('audit', 'reconcile', runId, '--json')
      return { code, ...JSON.parse(out) }
    }
    expect(await reconciled()).toMatchObject({ code: 0, result: 'COMPLETE', findings: [] })
    await database.query(
      `update concordat.runs set execution_ended_at = clock_timestamp() - interval '30 s' where run_id = $1`,
      [runId],
    )
    expect((await cli('audit', 'get', runId)).out).toContain('Contract  COMPLETE  3 overdue')
    expect(await reconciled()).toMatchObject({
      code: 1,
      result: 'INCOMPLETE',
      findings: Array(3).fill({ kind: 'overdue' }),
    })
    const { expectations } = json(await cli('audit', 'get', runId, '--json'))
    expect(expectations.filter(({ overdue }: { overdue: boolean }) => overdue)).toHaveLength(3)
    const refused = await cli('runs', 'finalize', runId, '--json')
    expect(refused.code).toBe(1)
    expect(error(refused)).toMatchObject({
      code: 'TRANSACTION_FAILED',
      message: expect.stringContaining('no room'),
      next: `concordat runs get ${runId}`,
    })
    await database.query('drop trigger refuse on concordat.incidents')
    expect(await cli('runs', 'finalize', runId)).toMatchObject({ code: 0, out: `Run ${runId} is finalised: failed.\n` })
    expect(json(await cli('runs', 'list', '--parked', '--json')).runs).toEqual([])
    const again = await cli('runs', 'finalize', runId, '--json')
    expect(error(again)).toMatchObject({ code: 'RUN_ENDED', next: `concordat runs get ${runId}` })
  })

  test('lists are paged, filtered, and tell the next page', async () => {
    const first = json(await cli('runs', 'list', '--limit', '2', '--json'))
    expect(first.runs).toHaveLength(2)
    const second = json(await cli('--json', 'runs', 'list', '--limit', '100', '--before', first.next))
    expect(second.next).toBe(null)
    expect(second.runs.every(({ runId }: { runId: string }) => runId < first.next)).toBe(true)
    const { out } = await cli('runs', 'list', '--status', 'succeeded', '--agent', 'greeter')
    expect(out.trim().split('\n')).toHaveLength(3)
    expect((await cli('runs', 'list', '--agent', 'nobody')).out).toContain('no such runs')
  })

  test.each(['01a20000-0000-7000-8000-000000000000', '../../etc', "x' or true"])('there is no run %s', async (id) => {
    for (const command of [
      ['runs', 'get'],
      ['runs', 'steps'],
      ['runs', 'stop'],
      ['runs', 'tail'],
      ['audit', 'get'],
    ]) {
      const result = await cli(...command, id, '--json')
      expect(result.code).toBe(1)
      expect(error(result)).toMatchObject({ code: 'RUN_NOT_FOUND', next: 'concordat runs list' })
    }
  })

  test('a run of another tenant looks like none to a tenant, and is found without one', async () => {
    const runId = await submitted('--agent', 'failing', '--at', '2999-01-31')
    await runtime.concordat.tenants.put({ tenantId: 'other' })
    const other = await cli('runs', 'get', runId, '--tenant', 'other', '--json')
    expect([other.code, error(other).code]).toEqual([1, 'RUN_NOT_FOUND'])
    expect((await cli('runs', 'get', runId, '--tenant', 'default', '--json')).code).toBe(0)
  })

  test('a run that succeeded reads as phases, steps, footprint, contract and events', async () => {
    const [{ runId }] = json(await cli('runs', 'list', '--agent', 'greeter', '--status', 'succeeded', '--json')).runs
    const { out } = await cli('runs', 'get', runId)
    const sections = [
      'Phases',
      'GOVERNANCE_CHECK',
      'Steps  1',
      '✓  greet#1',
      '█',
      'Incident  SUCCESS',
      'Verdict   NOT_APPLICABLE',
    ]
    for (const text of [...sections, 'Trace     COMPLETE', 'Contract', 'Events', 'run.completed'])
      expect(out).toContain(text)
    expect((await cli('runs', 'steps', runId)).out).toContain('Hello, Eve')
    const tail = await cli('runs', 'tail', runId, '--since-start', '--json')
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
      position: expect.stringMatching(/^[1-9]\d*$/),
    })
  })
})
