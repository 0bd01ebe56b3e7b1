import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { silentLogger } from '../src/foundation/log.ts'
import { createConcordat, defineAgent } from '../src/index.ts'
import { query, startServers } from '../test/support/start-servers.ts'

/*
 * How long a stop takes from the request to the abort of each step: of one run, and of 1,000 runs in flight in two worker
 * processes, which must be under 50 ms at p99; and of a tenant that is suspended with as many, of which no step may run
 * after 250 ms.
 *
 *     npm run bench:stop [-- ROUNDS]
 */
const rounds = Number(process.argv[2] ?? 5)
const RUNS = 1_000
const WORKERS = 2
const SINGLE_STOPS = 30
const SUSPENDED_MS = 250

interface Told {
  readonly ready?: true
  readonly holding?: number
  readonly heard?: { runId: string; at: number }[]
}

const now = () => performance.timeOrigin + performance.now()

function percentiles(ms: readonly number[]): string {
  const sorted = ms.toSorted((a, b) => a - b)
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`
}

class Worker {
  readonly #child: ChildProcess
  readonly ready: Promise<void>
  holding = 0
  #answer: ((heard: { runId: string; at: number }[]) => void) | undefined

  constructor(url: string) {
    this.#child = fork(new URL('./stop-worker.ts', import.meta.url), { env: { ...process.env, DATABASE_URL: url } })
    this.ready = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('message', (told: Told) => {
        if (told.ready) resolve()
        if (told.holding !== undefined) this.holding = told.holding
        if (told.heard) this.#answer?.(told.heard)
      })
    })
  }

  heard(): Promise<{ runId: string; at: number }[]> {
    this.holding = 0
    return new Promise((resolve) => {
      this.#answer = resolve
      this.#child.send('tell')
    })
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.send('end')
    await gone
  }
}

const { servers, stop } = await startServers(process.env)
const postgres = servers.postgres.find(({ version }) => version === 15) ?? servers.postgres[0]
if (!postgres) throw new Error('the benchmark needs PostgreSQL')
const database = `concordat_bench_stop_${process.pid}`
await query(postgres.url, `create database ${database}`)
const url = new URL(postgres.url)
url.pathname = `/${database}`
const concordat = await createConcordat({
  agents: [defineAgent({ name: 'holds', version: '1', run: () => null })], // the workers have its code
  log: silentLogger,
  env: {},
  config: { databaseUrl: url.href, governanceProfile: 'STRICT', eventTransport: 'postgres' },
})
const workers = Array.from({ length: WORKERS }, () => new Worker(url.href))
await Promise.all(workers.map(({ ready }) => ready))

async function hold(tenant: string, runs: number): Promise<string[]> {
  const submit = async () => (await concordat.runs.submit({ tenant, agent: 'holds' })).runId
  const ids = await Promise.all(Array.from({ length: runs }, submit))
  while (workers.reduce((sum, { holding }) => sum + holding, 0) < runs) await pause(20)
  await pause(500) // what was written for that is written
  return ids
}

/** From the request to each step's abort, in milliseconds. */
async function measure(ask: () => Promise<unknown>): Promise<number[]> {
  const from = now()
  await ask()
  const heard = (await Promise.all(workers.map((worker) => worker.heard()))).flat()
  return heard.map(({ at }) => at - from)
}

const stopped: number[] = []
const suspended: number[] = []
const single: number[] = []
try {
  for (let round = 0; round < rounds + 1; round++) {
    const tenant = `tenant-${round}`
    await concordat.tenants.create({ tenantId: tenant })
    await hold(tenant, RUNS)
    const all = await measure(() => concordat.runs.stopAll({ tenant, by: 'bench', why: 'measured' }))
    await hold(tenant, RUNS)
    const away = await measure(() => concordat.tenants.suspend(tenant, { by: 'bench', why: 'measured' }))
    if (all.length !== RUNS || away.length !== RUNS)
      throw new Error(`${all.length} and ${away.length} of ${RUNS} heard it`)
    process.stderr.write(
      `${round === 0 ? 'warm-up' : `round ${round}`}: stop ${percentiles(all)}; suspension ${percentiles(away)}\n`,
    )
    if (round === 0) continue
    stopped.push(...all)
    suspended.push(...away)
  }
  for (let i = 0; i < SINGLE_STOPS; i++) {
    const [runId = ''] = await hold('default', 1)
    single.push(
      ...(await measure(async () => {
        await concordat.runs.stop('default', runId)
        await concordat.runs.result('default', runId).catch(() => undefined)
      })),
    )
  }
} finally {
  await Promise.all(workers.map((worker) => worker.end()))
  await concordat.close()
  await query(postgres.url, `drop database ${database} with (force)`)
  await stop()
}
process.stdout.write(`one run                ${percentiles(single)}
${RUNS} runs, stopped      ${percentiles(stopped)}
${RUNS} runs, suspended    ${percentiles(suspended)}; ${suspended.filter((ms) => ms > SUSPENDED_MS).length} steps after ${SUSPENDED_MS} ms
`)
