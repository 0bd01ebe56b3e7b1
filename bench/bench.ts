import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { query, startServers } from '../test/support/start-servers.ts'

/*
 * Concordat beside the bare group committer, in turn, on the same servers in the same sitting: these machines are noisy,
 * so only the ratio of a round and the median over the rounds say anything. Without ../shared/ceiling it runs alone.
 *
 *     npm run bench [-- --rounds 5 --runs 20000 --in-flight 200]
 */
const here = dirname(fileURLToPath(import.meta.url))
const ceilingSource = join(here, '../../shared/ceiling')

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const rounds = option('rounds', 3)
const runs = option('runs', 20_000)
const inFlight = option('in-flight', 200)

/** What is measured beside the ceiling, which has nothing but runs, steps, footprints and events. */
interface Shape {
  readonly what: string
  readonly sideEffects: boolean
  readonly env: Readonly<Record<string, string>>
}

/** All that STRICT sets but the reactor, which is a process of its own then. */
const STRICT_WITHOUT_REACTOR = {
  GOVERNANCE_PROFILE: '',
  TRANSACTION_COORDINATOR_ENABLED: 'true',
  TRANSACTION_FALLBACK_TO_LEGACY: 'false',
  OBSERVABILITY_MODE: 'STRICT',
  MID_EXECUTION_POLICY_CHECK_ENABLED: 'true',
  POLICY_CHECK_MIN_STEPS: '1',
  POLICY_CHECK_ON_ERROR: 'pause',
  EVENT_TRANSPORT: 'redis-pubsub',
}
const SHAPES: readonly Shape[] = [
  { what: 'STRICT, reactor elsewhere, pub/sub', sideEffects: false, env: STRICT_WITHOUT_REACTOR },
  { what: 'STRICT, all in one process', sideEffects: false, env: {} },
  { what: 'STRICT, each start recorded too', sideEffects: true, env: {} },
]

interface Figures {
  readonly runsPerSecond: number
  readonly nodeCpuMsPerRun: number
  readonly p50Ms: number
  readonly p99Ms: number
}

function lastJson(child: ChildProcess): Promise<Record<string, number>> {
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

async function measureConcordat(postgresUrl: string, redisUrl: string, shape: Shape): Promise<Figures> {
  const database = `concordat_bench_${process.pid}`
  await query(postgresUrl, `drop database if exists ${database} with (force)`)
  await query(postgresUrl, `create database ${database}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${database}`
  const env = { ...process.env, ...shape.env, DATABASE_URL: url.href, REDIS_URL: redisUrl }
  const args = [join(here, 'load.ts'), String(inFlight), String(runs), '100', String(shape.sideEffects)]
  const figures = await lastJson(spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] }))
  await query(postgresUrl, `drop database if exists ${database} with (force)`)
  return figures as unknown as Figures
}

/** The ceiling is measured as it is; it is copied only so that it finds its packages. */
async function measureCeiling(postgresUrl: string, redisUrl: string): Promise<Figures> {
  const folder = join(here, 'results/ceiling')
  await mkdir(folder, { recursive: true })
  for (const file of ['ref.mjs', 'lib.mjs']) await copyFile(join(ceilingSource, file), join(folder, file))
  const { hostname, port, username, password } = new URL(postgresUrl)
  await query(postgresUrl, 'drop database if exists concordat_ceiling with (force)')
  await query(postgresUrl, 'create database concordat_ceiling')
  const env = {
    ...process.env,
    PGHOST: hostname,
    PGPORT: port || '5432',
    PGUSER: username || 'postgres',
    ...(password && { PGPASSWORD: password }),
    PGDATABASE: 'concordat_ceiling',
    REDIS_PORT: new URL(redisUrl).port || '6379',
  }
  const args = ['ref.mjs', 'group', String(inFlight), String(runs)]
  const child = spawn(process.execPath, args, { env, cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] })
  const found = await lastJson(child)
  await query(postgresUrl, 'drop database if exists concordat_ceiling with (force)')
  await rm(folder, { recursive: true, force: true })
  return {
    runsPerSecond: found.wf_s ?? 0,
    nodeCpuMsPerRun: found.node_cpu_ms_wf ?? 0,
    p50Ms: found.low_done_p50 ?? 0,
    p99Ms: found.low_done_p99 ?? 0,
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const { servers, stop } = await startServers(process.env)
const postgres = servers.postgres.find((server) => server.version === 15) ?? servers.postgres[0]
const redis = servers.redis
if (!postgres || !redis) throw new Error('the benchmark needs PostgreSQL and Redis')

const withCeiling = existsSync(ceilingSource)
if (!withCeiling) process.stderr.write('no ../shared/ceiling here: Concordat is measured alone\n')
const rows: { what: string; figures: Figures; share: number | null; slower: number | null }[] = []
try {
  for (let round = 1; round <= rounds; round++) {
    process.stderr.write(`round ${round} of ${rounds}\n`)
    const ceiling = withCeiling ? await measureCeiling(postgres.url, redis.url) : null
    for (const shape of SHAPES) {
      const figures = await measureConcordat(postgres.url, redis.url, shape)
      const share = ceiling && figures.runsPerSecond / ceiling.runsPerSecond
      rows.push({ what: shape.what, figures, share, slower: ceiling && figures.p50Ms / ceiling.p50Ms })
    }
    if (ceiling) rows.push({ what: 'the ceiling', figures: ceiling, share: 1, slower: 1 })
  }
} finally {
  await stop()
}

const table = new Table({
  head: ['median of the rounds', 'runs/s', 'of the ceiling', 'p50 ms', 'p99 ms', 'p50 / ceiling', 'node CPU ms/run'],
  colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [] },
})
for (const [what, own] of Map.groupBy(rows, (row) => row.what)) {
  const of = (pick: (row: (typeof rows)[number]) => number | null) => median(own.map((row) => pick(row) ?? Number.NaN))
  table.push([
    what,
    Math.round(of((row) => row.figures.runsPerSecond)),
    withCeiling ? `${(100 * of((row) => row.share)).toFixed(0)} %` : '',
    of((row) => row.figures.p50Ms).toFixed(1),
    of((row) => row.figures.p99Ms).toFixed(1),
    withCeiling ? of((row) => row.slower).toFixed(2) : '',
    of((row) => row.figures.nodeCpuMsPerRun).toFixed(2),
  ])
}
process.stdout.write(`${table}\n`)
