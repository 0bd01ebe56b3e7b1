import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pruneDeadLetters } from '../src/flow/reactor/reactor.ts'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { closing } from './flow/support/databases.ts'
import { until } from './flow/support/until.ts'
import { cliOn } from './support/cli-in-process.ts'
import { type CliResult, type RunningCli, runCli, startCli } from './support/run-cli.ts'
import { createDatabase, describeOnPostgres } from './support/servers.ts'

const CONFIG = `
import { defineConfig } from '${pathToFileURL('src/index.ts').href}'
export default defineConfig({
  handlers: [
    {
      type: 'run.*', name: 'history', transactional: true,
      handle: (event, { tx }) => tx.query('insert into history (run_id, type) values ($1, $2)', [event.runId, event.type]),
    },
    { type: 'run.complted', name: 'slip', handle: () => {} },
    { type: 'trace.started', name: 'broken', attemptsMax: 1, handle: () => { throw new Error('no, thank you') } },
    {
      type: 'run.completed', name: 'slow',
      handle: async (event) => {
        process.stderr.write('slow begins ' + event.runId + '\\n')
        await new Promise((resolve) => setTimeout(resolve, 500))
        process.stderr.write('slow ends ' + event.runId + '\\n')
      },
    },
  ],
})
`
const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })
const json = ({ out }: CliResult) => JSON.parse(out)
const OLD_MS = 3_600_000

describeOnPostgres('the commands on events', (server) => {
  const { later, closeLater } = closing()
  const folder = mkdtempSync(join(tmpdir(), 'concordat-events-'))
  let runtime: TestRuntime
  let cli: ReturnType<typeof cliOn>
  let place: { cwd: string; env: Record<string, string> }
  let reactor: RunningCli
  let tail: RunningCli
  beforeAll(async () => {
    const { url, drop } = await createDatabase(server)
    later(drop)
    // It executes and publishes; events are handled by the process.
    const config = { governanceProfile: undefined, eventTransport: 'memory' } as const
    runtime = closeLater(await createTestRuntime({ databaseUrl: url, agents: [works], config }))
    await runtime.database.query('create table history (run_id uuid, type text)')
    const inProcess = cliOn(runtime.concordat)
    cli = async (...args) => inProcess(...args).finally(() => runtime.start())
    writeFileSync(join(folder, 'concordat.config.mts'), CONFIG)
    place = { cwd: folder, env: { DATABASE_URL: url, GOVERNANCE_PROFILE: 'STRICT' } }
    reactor = startCli(['reactor'], place)
    tail = startCli(['events', 'tail', '--type', 'run.*', '--since-start', '--json'], place)
    await reactor.printed('concordat reactor')
  })
  afterAll(() => {
    reactor.child.kill('SIGKILL')
    tail.child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })

  const history = async () => {
    const rows = await runtime.database.query<{ type: string }>('select type from history')
    return rows.map(({ type }) => type).toSorted()
  }
  const untilHistory = (types: readonly string[]) => until(history, (seen) => seen.join() === types.toSorted().join())
  const deadLetters = () => runtime.database.query<{ handler: string }>('select handler from concordat.dead_letters')
  const ONE_RUN = ['run.created', 'run.started', 'run.completed']
  let first: string
  let afterFirst: string

  it('`reactor` handles events in a process of its own; `events tail` shows them as they come', async () => {
    const { runId } = await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'works' }))
    first = runId
    await untilHistory(ONE_RUN)
    await until(deadLetters, (rows) => rows.length === 1)
    await Promise.all([reactor.printed(`slow ends ${runId}`), ...ONE_RUN.map((type) => tail.printed(`"${type}"`))])
    tail.child.kill('SIGINT')
    const { code, out } = await tail.ended
    expect(code).toBe(0)
    const shown = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(shown.map(({ subject, type }) => [subject, type])).toEqual(ONE_RUN.map((type) => [runId, type]))
    const [row] = await runtime.database.query<{ now: string }>('select clock_timestamp()::text as now')
    afterFirst = new Date(row?.now ?? 0).toISOString()
  })

  it('`doctor` tells who handles events, which handlers nobody has, and of dead letters with what gives them back', async () => {
    await runtime.database.query(
      `insert into concordat.reactor_checkpoints (reactor_group, handler, partition, position, seen_at)
       values ('concordat', 'mailer', 3, 0, clock_timestamp() - interval '1 minute'),
              ('concordat', 'renamed', 3, 0, clock_timestamp() - interval '73 hours'),
              ('concordat', 'concordat.of-another-profile', 3, 0, clock_timestamp() - interval '1 minute')`,
    )
    const { findings } = json(await runCli(['doctor', '--json'], place))
    const told = findings.filter(({ area }: { area: string }) => area === 'events')
    expect(told).toContainEqual(
      expect.objectContaining({
        level: 'ok',
        text: expect.stringMatching(/^reactor .*:\d+ of group concordat has 16 partitions, last heartbeat \d+ s ago$/),
      }),
    )
    expect(told).toContainEqual({
      level: 'warning',
      area: 'events',
      text: expect.stringMatching(/^1 dead letter of handler broken, the latest \d+ s ago$/),
      hint: 'concordat events redrive --dead-letters --handler broken',
    })
    expect(told.map(({ text }: { text: string }) => text).join('\n')).toMatch(/\d+ handlers up to date, 0 events to go/)
    await runtime.database.query(
      `delete from concordat.reactor_checkpoints where handler in ('mailer', 'renamed', 'concordat.of-another-profile')`,
    )
    expect(findings).toContainEqual({
      level: 'warning',
      area: 'events',
      text: expect.stringMatching(
        /^no live reactor of group concordat has handler mailer, last seen \d+ \w ago; it is \d+ events? behind$/,
      ),
      hint: 'Start a reactor that has it. Or was it removed on purpose? 3 d (OUTBOX_RETENTION_HOURS) after it was last seen it is told of no more, and its events may go.',
    })
    expect(JSON.stringify(findings)).not.toMatch(/renamed|another-profile/)
    expect(findings).toContainEqual(
      expect.objectContaining({
        level: 'warning',
        area: 'configuration',
        text: 'handler slip is never called: no event has the type "run.complted": did you mean run.completed?',
      }),
    )
    await reactor.printed('A handler is never called: no event has the type')
  })

  it('`events redrive --from` gives a handler all of a partition again, `--since` what was published since', async () => {
    const partition = Number.parseInt(first.slice(-1), 16)
    const from = await cli(
      'events',
      'redrive',
      '--from',
      '1',
      '--partition',
      `${partition}`,
      '--handler',
      'history',
      '--json',
    )
    expect(json(from).redriven).toMatchObject([{ handler: 'history', partition, to: 0 }])
    await untilHistory([...ONE_RUN, ...ONE_RUN])
    await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'works' }))
    await untilHistory([...ONE_RUN, ...ONE_RUN, ...ONE_RUN])
    const since = await cli('events', 'redrive', '--since', afterFirst, '--handler', 'history')
    expect(since.out).toMatch(/history +\d+ +1\n/)
    await untilHistory([...ONE_RUN, ...ONE_RUN, ...ONE_RUN, ...ONE_RUN])
    const none = await cli('events', 'redrive', '--since', '2999-01-01T00:00:00Z')
    expect(none.out).toContain('nothing to give again')
  })

  it('`events tail` begins with a time, or with a position of one partition or of all, if it is told so', async () => {
    const fromThird = ['trace.started', 'incident.created', 'policy.evaluated', 'trace.completed', 'run.completed']
    const partition = `${Number.parseInt(first.slice(-1), 16)}`
    for (const [args, expected] of [
      [['--from', '3', '--partition', partition], fromThird],
      [['--since', afterFirst, '--type', 'run.*'], ONE_RUN],
    ] as const) {
      const tailing = startCli(['events', 'tail', ...args, '--json'], place)
      await tailing.printed('"run.completed"')
      tailing.child.kill('SIGINT')
      const lines = (await tailing.ended).out.trim().split('\n')
      const shown = lines.map((line): { type: string; subject: string } => JSON.parse(line))
      expect(shown.slice(0, expected.length).map(({ type }) => type)).toEqual(expected)
      expect(shown[0]?.subject === first).toBe(args[0] === '--from')
    }
    for (const args of [
      ['--since', afterFirst, '--from', '1'],
      ['--from', '0'],
      ['--since', 'yesterday'],
    ]) {
      expect((await cli('events', 'tail', ...args)).code).toBe(2)
    }
  })

  it('`events redrive --dead-letters` gives a handler what it has failed on for good', async () => {
    await until(deadLetters, (rows) => rows.length === 2)
    const before = await runtime.database.query('select max(dead_letter_id) from concordat.dead_letters')
    const revived = await cli('events', 'redrive', '--dead-letters', '--handler', 'broken')
    expect(revived.out).toBe('broken gets 2 events again.\n')
    await until(deadLetters, (rows) => rows.length === 2)
    expect(await runtime.database.query('select max(dead_letter_id) from concordat.dead_letters')).not.toEqual(before)
  })

  it('says what is wrong with a redrive: exit code 2', async () => {
    const wrong = [
      ['--from', '0'],
      ['--since', 'yesterday'],
      [],
      ['--from', '1', '--dead-letters'],
      ['--dead-letters', '--partition', '1'],
    ]
    for (const args of wrong) expect((await cli('events', 'redrive', ...args, '--json')).code).toBe(2)
    for (const args of [['--from', '1'], ['--dead-letters']]) {
      const { code, err } = await cli('events', 'redrive', ...args, '--handler', 'histery', '--json')
      expect([code, JSON.parse(err).error]).toMatchObject([
        2,
        { code: 'UNKNOWN_HANDLER', message: expect.stringContaining('it has had broken, '), next: 'concordat doctor' },
      ])
    }
  })

  it('shows silences with the alerts, and why a subscription fails below it', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString()
    await cli('alerts', 'silence', '--until', until, '--type', 'DRIFT', '--by', 'ada')
    expect((await cli('alerts', 'list')).out).toBe(`No alert is open.\n  silent until ${until}: DRIFT, by ada\n`)
    expect(json(await cli('alerts', 'list', '--json')).silences).toMatchObject([{ type: 'DRIFT', by: 'ada' }])
    const { out } = await cli(
      'subscriptions',
      'create',
      '--url',
      'https://example.com/hook',
      '--types',
      'run.*',
      '--json',
    )
    const { subscriptionId } = JSON.parse(out)
    await runtime.database.query('update concordat.subscriptions set failing_since = clock_timestamp()')
    await runtime.database.query(
      `insert into concordat.deliveries (tenant_id, delivery_id, target, source_id, payload, attempts, due_at, last_error)
       values ('default', gen_random_uuid(), 'subscription/' || $1, gen_random_uuid(), '{}', 1, 'infinity', 'status 418')`,
      [subscriptionId],
    )
    expect((await cli('subscriptions', 'list')).out).toMatch(
      /run\.\* +https:\/\/example\.com\/hook .*\n +failing for \d s: status 418\n$/,
    )
    await cli('subscriptions', 'delete', subscriptionId)
  })

  it('says that a tenant or a type of events is not there, instead of showing nothing for ever', async () => {
    for (const args of [
      ['events', 'tail'],
      ['runs', 'tail'],
      ['alerts', 'list'],
      ['subscriptions', 'list'],
    ]) {
      const { code, err } = await cli(...args, '--tenant', 'nobody', '--json')
      expect([code, JSON.parse(err).error]).toMatchObject([
        2,
        { code: 'UNKNOWN_TENANT', next: 'concordat tenants list' },
      ])
    }
    const { code, err } = await cli('events', 'tail', '--type', 'run.complted')
    expect([code, err]).toEqual([2, expect.stringContaining('did you mean')])
  })

  it('dead letters go when they are old, and never before', async () => {
    await runtime.database.query(
      `update concordat.dead_letters set created_at = created_at - interval '2 h'
        where dead_letter_id = (select min(dead_letter_id) from concordat.dead_letters)`,
    )
    expect(await pruneDeadLetters(runtime.database, 3 * OLD_MS)).toBe(0)
    expect(await pruneDeadLetters(runtime.database, OLD_MS)).toBe(1)
    expect(await pruneDeadLetters(runtime.database, OLD_MS)).toBe(0)
    expect(await deadLetters()).toHaveLength(1)
  })

  it('`reactor` that is told to end lets a handler finish, gives up its partitions and ends with 0', async () => {
    const { runId } = await runtime.runs.submit({ tenant: 'default', agent: 'works' })
    await reactor.printed(`slow begins ${runId}`)
    reactor.child.kill('SIGTERM')
    const { code, err } = await reactor.ended
    expect(code).toBe(0)
    expect(err).toContain('Stopping: no new events, handlers get their time.')
    expect(err).toContain(`slow ends ${runId}`)
    expect(await runtime.database.query('select from concordat.reactor_members')).toEqual([])
    expect(await runtime.database.query('select from concordat.reactor_partitions where owner is not null')).toEqual([])
  })
})
