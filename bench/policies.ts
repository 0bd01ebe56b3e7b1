import { type ChildProcess, spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { query, startServers } from '../test/support/start-servers.ts'

/*
 * What it costs to look at policies before steps: the main job of `load.ts` with nine policies (five conditions, four
 * limits of a run), checks off, at their defaults, and before each step, in turn on the same servers; and at the defaults
 * with two budgets besides that all runs share, each step of which is a row of theirs to be locked. The order changes from round to round; only the ratio of
 * a round and the median over the rounds say anything.
 *
 *     node bench/policies.ts [--rounds 5 --runs 8000 --in-flight 200]
 */
const here = dirname(fileURLToPath(import.meta.url))
/** Each as STRICT is, but for the checks. */
const COMMON = {
  GOVERNANCE_PROFILE: '',
  TRANSACTION_COORDINATOR_ENABLED: 'true',
  TRANSACTION_FALLBACK_TO_LEGACY: 'false',
  OBSERVABILITY_MODE: 'STRICT',
  MID_EXECUTION_POLICY_CHECK_ENABLED: 'true',
}
const OFF = { MID_EXECUTION_POLICY_CHECK_ENABLED: 'false' }
const EACH_STEP = { POLICY_CHECK_INTERVAL_SECONDS: '0', POLICY_CHECK_MIN_STEPS: '1' }
/** The environment, and which policies of `load.ts`. */
const VARIANTS: Readonly<Record<string, readonly [Readonly<Record<string, string>>, string]>> = {
  off: [OFF, 'run'],
  'at the defaults': [{}, 'run'],
  'before each step': [EACH_STEP, 'run'],
  'at the defaults, shared budgets': [{}, 'shared'],
}

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const rounds = option('rounds', 5)
const runs = option('runs', 8_000)
const inFlight = option('in-flight', 200)

interface Figures {
  readonly runsPerSecond: number
  readonly nodeCpuMsPerRun: number
  readonly p50Ms: number
}

async function measure(postgresUrl: string, variant: string): Promise<Figures> {
  const database = `concordat_bench_${process.pid}`
  await query(postgresUrl, `drop database if exists ${database} with (force)`)
  await query(postgresUrl, `create database ${database}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${database}`
  const [own, policies] = VARIANTS[variant] ?? [OFF, 'run']
  const env = { ...process.env, ...COMMON, ...own, DATABASE_URL: url.href, EVENT_TRANSPORT: 'memory' }
  const args = [join(here, 'load.ts'), String(inFlight), String(runs), '40', 'false', policies]
  const figures = await lastJson(spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] }))
  await query(postgresUrl, `drop database if exists ${database} with (force)`)
  return figures
}

function lastJson(child: ChildProcess): Promise<Figures> {
  let output = ''
  child.stdout?.on('data', (chunk) => {
    output += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => {
      const line = output.split('\n').findLast((each) => each.startsWith('{'))
      if (code === 0 && line) resolve(JSON.parse(line))
      else reject(new Error(`exit code ${code}: ${output.slice(-500)}`))
    })
  })
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const { servers, stop } = await startServers(process.env)
const postgres = servers.postgres.find((server) => server.version === 15) ?? servers.postgres[0]
if (!postgres) throw new Error('the benchmark needs PostgreSQL')

const names = Object.keys(VARIANTS)
const found = new Map<string, (Figures & { readonly share: number })[]>(names.map((name) => [name, []]))
try {
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}\n`)
    const inTurn = names.map((_, i) => names[(i + round) % names.length] ?? 'off')
    const figures = new Map<string, Figures>()
    for (const name of inTurn) figures.set(name, await measure(postgres.url, name))
    const off = figures.get('off')?.runsPerSecond ?? Number.NaN
    for (const [name, each] of figures) found.get(name)?.push({ ...each, share: each.runsPerSecond / off })
  }
} finally {
  await stop()
}

const table = new Table({
  head: ['median of the rounds', 'runs/s', 'of off', 'p50 ms', 'node CPU ms/run'],
  colAligns: ['left', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [] },
})
for (const [name, own] of found) {
  table.push([
    `checks ${name}`,
    Math.round(median(own.map(({ runsPerSecond }) => runsPerSecond))),
    `${(100 * median(own.map(({ share }) => share))).toFixed(1)} %`,
    median(own.map(({ p50Ms }) => p50Ms)).toFixed(1),
    median(own.map(({ nodeCpuMsPerRun }) => nodeCpuMsPerRun)).toFixed(2),
  ])
}
process.stdout.write(`${table}\n`)
