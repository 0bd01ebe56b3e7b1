import { setTimeout as pause } from 'node:timers/promises'
import { showProgress } from '../../src/surface/cli/progress.ts'
import type { Terminal } from '../../src/surface/cli/terminal.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { pauseAgents } from './pause-agents.ts'
import { startWorker, type WorkerProcess } from './worker-process.ts'

export interface PauseManyOptions {
  /** An empty PostgreSQL database. */
  readonly databaseUrl: string
  readonly runs: number
  readonly terminal: Terminal
}

const WORKERS = 2
/** Calls that one process makes at the same time. */
const CALLS = 64
const POLL_MS = 100
const PATIENCE_MS = 600_000
/** Two workers, and the process that submits and looks, with the connections of their pools, heartbeats and listeners. */
const CONNECTIONS_MAX = 60
const SCRIPT = new URL('./pause-worker.ts', import.meta.url).pathname
const SEVEN_HOURS = `interval '7 hours'`

const ASK = { name: 'ask', when: `step.name == "after"`, effect: 'pause' } as const
const ada = { by: 'ada', as: 'OPERATOR' } as const

/** Pauses so many runs, twice, and returns what of it was not as it must be. */
export async function pauseMany(options: PauseManyOptions): Promise<readonly string[]> {
  const runtime = await createTestRuntime({
    databaseUrl: options.databaseUrl,
    agents: pauseAgents(),
    started: false,
    config: { pauseSlaMs: 6 * 3_600_000 },
  })
  const torture = new PauseMany(options, runtime)
  try {
    await torture.pausedAndResumed()
    await torture.timedOutWhileDown()
    return torture.wrong
  } finally {
    await torture.kill()
    await runtime.close()
  }
}

class PauseMany {
  readonly wrong: string[] = []
  readonly #options: PauseManyOptions
  readonly #runtime: TestRuntime
  #workers: WorkerProcess[] = []

  constructor(options: PauseManyOptions, runtime: TestRuntime) {
    this.#options = options
    this.#runtime = runtime
  }

  /** Paused by a policy between two steps; the workers that had them die; each is resumed by two at the same time. */
  async pausedAndResumed(): Promise<void> {
    const { runs } = this.#options
    await this.#pauseAll('resumed')
    await this.kill()
    await this.#start()
    this.#expect('runs that are paused after a restart', await this.#count('paused'), runs)
    await this.#runtime.concordat.policies.apply('resumed', [{ ...ASK, enabled: false }])
    const ids = (await this.#ids('resumed')).slice(0, Math.ceil(runs / 10))
    const answers = await this.#inTurns('resuming one by one', [...ids, ...ids], async (runId) => {
      return this.#runtime.runs.resume('resumed', runId, ada).catch((error) => String(error.code))
    })
    this.#expect('resumes that count', answers.filter((answer) => answer === 'resumed').length, ids.length)
    this.#expect('resumes that are refused', answers.filter((answer) => answer === 'RUN_NOT_PAUSED').length, ids.length)
    const startedAt = performance.now()
    const both = await Promise.all([1, 2].map(() => this.#runtime.runs.resumeAll({ tenant: 'resumed', ...ada })))
    this.#say(`resuming the others: ${both.map(({ resumed }) => resumed).join(' and ')} in ${since(startedAt)}`)
    this.#expect(
      'runs that are resumed at once',
      both.reduce((sum, { resumed }) => sum + resumed, 0),
      runs - ids.length,
    )
    await this.#until('ending', `tenant_id = 'resumed' and status = 'succeeded'`)
    const twice = await this.#rows(
      `select run_id from concordat.steps where tenant_id = 'resumed' group by run_id
       having count(*) <> 2 or max(attempt) > 1`,
    )
    this.#expect('runs that have not run each step once', twice.length, 0)
  }

  /** Their time is over while no process is there; the next ones end them all. */
  async timedOutWhileDown(): Promise<void> {
    await this.#pauseAll('late')
    await this.kill()
    await this.#rows(
      `with earlier as (
         update concordat.pauses set paused_at = paused_at - ${SEVEN_HOURS}, warn_at = warn_at - ${SEVEN_HOURS},
                timeout_at = timeout_at - ${SEVEN_HOURS} where tenant_id = 'late')
       update concordat.runs set due_at = due_at - ${SEVEN_HOURS} where tenant_id = 'late'`,
    )
    await this.#start()
    await this.#until('timing out', `tenant_id = 'late' and reason = 'PAUSE_TIMEOUT' and status = 'failed_policy'`)
    const open = await this.#rows(
      `select r.run_id from concordat.runs r
        where tenant_id = 'late' and (select count(*) from concordat.audit_acks a
               where a.tenant_id = r.tenant_id and a.run_id = r.run_id and a.status = 'SUCCESS') <> 5`,
    )
    this.#expect('runs without their whole footprint', open.length, 0)
  }

  async kill(): Promise<void> {
    for (const worker of this.#workers) worker.signal('SIGKILL')
    await Promise.all(this.#workers.map((worker) => worker.exited))
    this.#workers = []
  }

  async #start(): Promise<void> {
    const env = { LEASE_SECONDS: '4', WORKER_CONCURRENCY: '50', POLICY_CHECK_INTERVAL_SECONDS: '0' }
    this.#workers = Array.from({ length: WORKERS }, () => startWorker(this.#options.databaseUrl, env, SCRIPT))
    await Promise.all(this.#workers.map((worker) => worker.ready))
  }

  async #pauseAll(tenant: string): Promise<void> {
    const { runs } = this.#options
    const { concordat } = this.#runtime
    await concordat.tenants.put({ tenantId: tenant })
    await concordat.policies.apply(tenant, [ASK])
    if (this.#workers.length === 0) await this.#start()
    await this.#inTurns('submitting', Array.from({ length: runs }), async () => {
      await this.#runtime.runs.submit({ tenant, agent: 'pauses' })
    })
    await this.#until('pausing', `tenant_id = '${tenant}' and paused`)
    this.#expect('runs that hold a slot', await this.#count('worker_id is not null'), 0)
    const [{ n } = { n: 0 }] = await this.#rows<{ n: number }>(
      'select count(*)::int as n from pg_stat_activity where datname = current_database()',
    )
    if (n > CONNECTIONS_MAX) this.wrong.push(`${runs} paused runs, and ${n} connections`)
    const startedAt = performance.now()
    await concordat.tenants.put({ tenantId: 'other' })
    await this.#until('another tenant', `tenant_id = 'other' and status = 'succeeded'`, 1, async () => {
      await this.#runtime.runs.submit({ tenant: 'other', agent: 'pauses' })
    })
    this.#say(`${n} connections beside ${runs} paused runs; another run took ${since(startedAt)}`)
    await this.#rows(`delete from concordat.runs where tenant_id = 'other'`)
  }

  async #ids(tenant: string): Promise<string[]> {
    const rows = await this.#rows<{ id: string }>(
      `select run_id as id from concordat.runs where tenant_id = '${tenant}'`,
    )
    return rows.map(({ id }) => id)
  }

  /** Some at a time. */
  async #inTurns<In, Out>(what: string, items: readonly In[], call: (item: In) => Promise<Out>): Promise<Out[]> {
    const startedAt = performance.now()
    const answers: Out[] = []
    const hide = this.#bar(what, () => answers.length, items.length)
    const left = items.values()
    const caller = async () => {
      for (const item of left) answers.push(await call(item))
    }
    await Promise.all(Array.from({ length: CALLS }, caller))
    hide()
    this.#say(`${what}: ${items.length} in ${since(startedAt)}`)
    return answers
  }

  async #until(what: string, where: string, wanted = this.#options.runs, first = async () => {}): Promise<void> {
    const startedAt = performance.now()
    let seen = 0
    const hide = this.#bar(what, () => seen, wanted)
    await first()
    for (;;) {
      seen = await this.#count(where)
      if (seen >= wanted) break
      if (performance.now() - startedAt > PATIENCE_MS) throw new Error(`${what}: only ${seen} of ${wanted}`)
      await pause(POLL_MS)
    }
    hide()
    if (wanted > 1) this.#say(`${what}: ${seen} in ${since(startedAt)}`)
  }

  async #count(where: string): Promise<number> {
    const [row] = await this.#rows<{ n: number }>(`select count(*)::int as n from concordat.runs where ${where}`)
    return row?.n ?? 0
  }

  #rows<Row>(sql: string): Promise<Row[]> {
    return this.#runtime.database.query<Row>(sql)
  }

  #expect(what: string, seen: number, wanted: number): void {
    if (seen !== wanted) this.wrong.push(`${what}: ${seen}, not ${wanted}`)
  }

  #bar(what: string, done: () => number, all: number): () => void {
    return showProgress(this.#options.terminal, () => ({ share: done() / all, done: done(), text: what }))
  }

  #say(line: string): void {
    this.#options.terminal.err(line)
  }
}

function since(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`
}
