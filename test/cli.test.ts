import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { copyEmbeddedInto } from './support/embedded.ts'
import { type CliResult, runCli, startCli } from './support/run-cli.ts'

const CONFIG = `
import { defineAgent, defineConfig } from '${pathToFileURL('src/index.ts').href}'
const greeter = defineAgent({
  name: 'greeter', version: '1',
  run: ({ input, step }) => step.do('greet', () => 'Hello, ' + input.name, { sideEffects: false }),
})
export default defineConfig({ agents: [greeter] })
`

// Throws where nobody can catch it, while a step of its own is under way.
const STRAYS = `
const strays = defineAgent({
  name: 'strays', version: '1',
  async run({ input, step }) {
    if (input.by === 'a timer') setTimeout(() => { throw new Error('lost in a timer') }, 5)
    else void Promise.reject(new Error('lost in a promise'))
    await step.do('wait', () => new Promise((resolve) => setTimeout(resolve, 5_000)))
  },
})
`

/** A user's project with a configuration file, and a folder with nothing in it. */
const project = mkdtempSync(join(tmpdir(), 'concordat-cli-'))
const bare = mkdtempSync(join(tmpdir(), 'concordat-cli-bare-'))
const inProject = { cwd: project, env: { GOVERNANCE_PROFILE: 'STRICT' } }
const error = ({ err }: CliResult) => JSON.parse(err).error

beforeAll(() => writeFileSync(join(project, 'concordat.config.mts'), CONFIG))
afterAll(() => {
  for (const folder of [project, bare]) rmSync(folder, { recursive: true, force: true })
})

describe('an agent that throws where nobody can catch it', () => {
  test.each(['a timer', 'a promise'])('in %s: its run fails, the process goes on', async (by) => {
    const args = ['runs', 'submit', '--agent', 'strays', '--input', JSON.stringify({ by }), '--wait', '--json']
    const cwd = mkdtempSync(join(tmpdir(), 'concordat-cli-strays-'))
    await copyEmbeddedInto(cwd)
    const config = CONFIG.replace('export default', `${STRAYS}export default`).replace('[greeter]', '[greeter, strays]')
    writeFileSync(join(cwd, 'concordat.config.mts'), config)
    const { code, out, err } = await runCli(args, { cwd, env: inProject.env })
    rmSync(cwd, { recursive: true })
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ status: 'failed', reason: 'AGENT_FAILED' })
    expect(err).toContain(`lost in ${by}`)
  })
})

test('an agent that ends the process: the command says that it did not finish, and does not exit with 0', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'concordat-cli-exits-'))
  await copyEmbeddedInto(cwd)
  const config = CONFIG.replace("'Hello, ' + input.name", 'process.exit(0)')
  writeFileSync(join(cwd, 'concordat.config.mts'), config)
  const result = await runCli(['runs', 'submit', '--agent', 'greeter', '--wait', '--json'], { cwd })
  rmSync(cwd, { recursive: true })
  expect([result.code, error(result).message]).toEqual([1, 'the process ended before the command had finished'])
})

test('Ctrl-C while a run is executed here: it gets its time to end, else it waits for the next process', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'concordat-cli-interrupted-'))
  await copyEmbeddedInto(cwd)
  const slow = `
const slow = defineAgent({
  name: 'slow', version: '1',
  run: ({ step }) => step.do('work', ({ signal }) => new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason)) // and the timer stays
    setTimeout(() => resolve('done'), process.env.WORK_MS)
    process.stderr.write('it works')
  }), { sideEffects: false }),
})
`
  const config = CONFIG.replace('export default', `${slow}export default`).replace('[greeter]', '[slow]')
  writeFileSync(join(cwd, 'concordat.config.mts'), config)
  const interrupted = async (env: Record<string, string>, ...args: string[]) => {
    const submit = startCli(['runs', 'submit', '--agent', 'slow', '--key', 'k', '--wait', ...args], { cwd, env })
    await submit.printed('it works')
    submit.child.kill('SIGINT')
    return submit.ended
  }
  const left = await interrupted({ WORK_MS: '60000', DRAIN_TIMEOUT_SECONDS: '0' })
  expect(left).toMatchObject({ code: 130, out: '' })
  expect(left.err).toMatch(/Draining: the run is executed here, and gets 0 s.*\nRun \S+ has not ended; it goes on with/)
  const ended = await interrupted({ WORK_MS: '300' })
  expect(ended).toMatchObject({ code: 0, out: '"done"\n', err: expect.stringContaining('gets 30 s') })
  rmSync(cwd, { recursive: true })
})

describe('the exit code tells what went wrong', () => {
  test('2: the command line', async () => {
    const { code, out, err } = await runCli(['runs', 'lst'], { cwd: bare })
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain("INVALID_REQUEST  unknown command 'lst'")
  })

  test('3: variables that contradict each other', async () => {
    const env = { GOVERNANCE_PROFILE: 'STRICT', TRANSACTION_COORDINATOR_ENABLED: 'false', EVENT_TRANSPORT: 'postgres' }
    const result = await runCli(['worker', '--json'], { cwd: bare, env })
    expect(result.code).toBe(3)
    expect(error(result).message).toMatch(
      /loosens GOVERNANCE_PROFILE=STRICT.*EVENT_TRANSPORT=postgres needs DATABASE_URL/s,
    )
  })

  test('3: doctor shows a wrong variable beside all that can be read, and looks at no database', async () => {
    const env = { REDIS_URL: 'http://x', LEASE_SECONDS: '7' }
    const [shown, asJson] = await Promise.all([
      runCli(['doctor'], { cwd: bare, env }),
      runCli(['doctor', '--json'], { cwd: bare, env }),
    ])
    expect([shown.code, shown.err, asJson.code]).toEqual([3, '', 3])
    expect(shown.out).toMatch(
      /LEASE_SECONDS +7 +environment[\s\S]*✗ REDIS_URL: .* is not a URL that begins with redis:/,
    )
    const { configuration, findings } = JSON.parse(asJson.out)
    expect(configuration).toContainEqual(expect.objectContaining({ variable: 'LEASE_SECONDS', value: '7' }))
    expect(findings.map(({ level, area }: Record<string, string>) => [level, area])).toEqual([
      ['error', 'configuration'],
      ['ok', 'configuration'],
    ])
  })

  test('3: a configuration file that is broken', async () => {
    writeFileSync(join(project, 'broken.config.ts'), 'export default {')
    const result = await runCli(['runs', 'list', '--config', 'broken.config.ts', '--json'], inProject)
    expect(result.code).toBe(3)
    expect(error(result)).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining('broken.config.ts: '),
    })
  })

  test('3: a data folder that can’t be used, also for doctor, which makes none', async () => {
    const dataDir = join(project, 'concordat.config.mts')
    const env = { CONCORDAT_DATA_DIR: dataDir }
    const [list, doctor] = await Promise.all([
      runCli(['runs', 'list', '--json'], { cwd: bare, env }),
      runCli(['doctor'], { cwd: bare, env }),
    ])
    expect([list.code, doctor.code]).toEqual([3, 3])
    expect(error(list)).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining(dataDir),
      next: 'concordat doctor',
    })
    expect(doctor.out).toContain(`✗ the embedded database can't use ${dataDir}: it is not a folder`)
  })

  test('4: a database that does not answer', async () => {
    const env = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' }
    const [list, doctor] = await Promise.all([
      runCli(['runs', 'list', '--json'], { cwd: bare, env }),
      runCli(['doctor'], { cwd: bare, env }),
    ])
    expect([list.code, doctor.code]).toEqual([4, 4])
    expect(error(list)).toMatchObject({ code: 'DATABASE_UNREACHABLE', next: 'concordat doctor' })
    expect(doctor.out).toContain('✗ the database did not answer')
  })
})

test('a Node that is too old is told which one is needed, in one line', async () => {
  const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '22.17.1' } })`
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(older)}` }
  expect(await runCli(['--version'], { cwd: bare, env })).toEqual({
    code: 3,
    out: '',
    err: 'concordat needs Node >=22.18; this is 22.17.1\n',
  })
  // Linking a module fails where a name is missing, before a line of it runs.
  expect(readFileSync('src/surface/cli/main.ts', 'utf8')).not.toMatch(/^import \{.*\} from 'node:module'/m)
})

test('doctor and migrate --check look at a folder without a database and create none', async () => {
  const [doctor, check] = await Promise.all([
    runCli(['doctor', '--json'], { cwd: bare }),
    runCli(['migrate', '--check'], { cwd: bare }),
  ])
  expect([doctor.code, check.code]).toEqual([0, 1])
  expect(doctor.out).toContain('there is no embedded database in .concordat yet')
  expect(check.out).toContain('every migration is pending')
  expect(readdirSync(bare)).toEqual([])
})

test('a project works on its embedded database, one process at a time, and its worker drains', async () => {
  const submitted = await runCli(['runs', 'submit', '--agent', 'greeter', '--input', '-', '--wait'], {
    ...inProject,
    input: '{"name":"Ann"}',
  })
  expect(submitted).toEqual({ code: 0, out: '"Hello, Ann"\n', err: '' })
  expect(await runCli(['migrate', '--check'], inProject)).toMatchObject({
    code: 0,
    out: expect.stringContaining('up to date'),
  })

  const worker = startCli(['worker'], inProject)
  await worker.printed('concordat worker')
  const second = await runCli(['runs', 'list', '--json'], inProject)
  expect(second.code).toBe(3)
  expect(error(second)).toMatchObject({
    code: 'EMBEDDED_LOCKED',
    hint: expect.stringContaining('DATABASE_URL'),
    next: `ps -p ${worker.child.pid}`,
  })
  worker.child.kill('SIGTERM')
  const { code, err } = await worker.ended
  expect(code).toBe(0)
  expect(err).toContain('greeter@1, replay@1, plan@1')
  expect(err).toContain('Draining')

  const doctor = await runCli(['doctor'], inProject)
  expect(doctor.code).toBe(0)
  const told = ['the schema is up to date', 'no worker is alive', 'tenant default has no policy', 'power loss']
  for (const text of told) expect(doctor.out).toContain(text)
  expect(doctor.out).not.toContain('\u001b') // no colours where it is piped
})

test('a run that is still refused when it is finalised by hand is told as one error, not in the log as well', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'concordat-cli-refused-'))
  await copyEmbeddedInto(cwd)
  const inFolder = { cwd, env: inProject.env }
  writeFileSync(
    join(cwd, 'concordat.config.mts'),
    CONFIG.replace(
      'agents: [greeter]',
      `agents: [greeter], participants: [{ name: 'ledger', write: () => Promise.reject(new Error('no room')) }]`,
    ),
  )
  const { out } = await runCli(['runs', 'submit', '--agent', 'greeter', '--input', '{}'], inFolder)
  const worker = startCli(['worker'], inFolder)
  await worker.printed('a completion was rolled back')
  worker.child.kill('SIGTERM')
  await worker.ended
  const refused = await runCli(['runs', 'finalize', out.trim(), '--json'], inFolder)
  expect(refused.code).toBe(1)
  expect(error(refused)).toMatchObject({
    code: 'TRANSACTION_FAILED',
    message: expect.stringContaining('no room'),
    next: `concordat runs get ${out.trim()}`,
  })
  rmSync(cwd, { recursive: true })
})
