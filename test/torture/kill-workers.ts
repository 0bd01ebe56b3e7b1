import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { checkAtTheEnd, DISAGREEMENTS } from './agreement.ts'
import { CREATE_WITNESS, crashAgents } from './crash-agents.ts'
import { between, seeded } from './random.ts'
import { type GeneratedTrajectory, generateTrajectory } from './trajectories.ts'
import { WorkerPool } from './worker-pool.ts'
import { startWorker } from './worker-process.ts'

export interface KillOptions {
  /** An empty PostgreSQL database. */
  readonly databaseUrl: string
  readonly kills: number
  readonly seed: number
  readonly workers?: number
  readonly onKill?: (kills: number, runs: number) => void
}

export interface KillReport {
  readonly kills: number
  readonly runs: number
  readonly observations: number
  readonly resumed: number
  /** Runs that were started with their submission. */
  readonly eager: number
  readonly trajectories: ReadonlyMap<string, GeneratedTrajectory>
  /** What an observer saw that must never be seen, and what was wrong at the end. Empty: all promises hold. */
  readonly wrong: readonly string[]
}

const OUTSTANDING_RUNS = 60
const SUBMIT_BATCH = 15
const OBSERVE_MS = 15
/** Of each worker: enough for as long as most of them live, few enough to come to an end. */
const OWN_RUNS = { OWN_RUNS: '30' }
const KILLS_A_FREEZE = 4
const SETTLE_MS = 90_000

/** Kills workers, and freezes some, at random moments while they execute runs, looks on all the while, and checks everything at the end. */
export async function killWorkers({ databaseUrl, kills, seed, workers = 3, onKill }: KillOptions): Promise<KillReport> {
  const random = seeded(seed)
  const database = new pg.Pool({ connectionString: databaseUrl, max: 3 })
  database.on('error', () => undefined) // it may be dropped while a connection is still closing
  const submitter = await createTestRuntime({ databaseUrl, agents: crashAgents(database), started: false })
  await database.query(CREATE_WITNESS)
  const over = new AbortController()
  const load = new Load(submitter, database, random)
  const submitting = load.keepUp(over.signal)
  const observer = new Observer(database)
  const observing = observer.look(over.signal)
  const pool = new WorkerPool(workers, () => startWorker(databaseUrl, OWN_RUNS))
  try {
    for (let killed = 1; killed <= kills; killed++) {
      if (killed % KILLS_A_FREEZE === 0) await pool.freezeOne(random)
      await pool.killOne(random)
      onKill?.(killed, load.runs)
    }
    load.stop()
    await submitting
    const wrongAtTheEnd = await checkAtTheEnd(database, SETTLE_MS)
    over.abort()
    await observing
    const wrong = [...observer.wrong, ...wrongAtTheEnd, ...(await checkReplays(submitter, load.trajectories, random))]
    const { rows } = await database.query<{ resumed: number; eager: number }>(
      `select (count(*) filter (where worker_losses > 0))::int as resumed,
              (count(*) filter (where transitions like '%started by the worker beside its submission%'))::int as eager
         from concordat.runs`,
    )
    const { looks: observations } = observer
    return {
      kills,
      runs: load.runs,
      observations,
      resumed: rows[0]?.resumed ?? 0,
      eager: rows[0]?.eager ?? 0,
      trajectories: load.trajectories,
      wrong,
    }
  } finally {
    over.abort()
    load.stop()
    await Promise.allSettled([submitting, observing])
    await pool.stop()
    await submitter.close()
    await database.end()
  }
}

/** Keeps some dozen runs waiting or executing: half of them replayed trajectories, half with witnessed steps. */
class Load {
  readonly trajectories = new Map<string, GeneratedTrajectory>()
  runs = 0
  readonly #submitter: TestRuntime
  readonly #database: pg.Pool
  readonly #random: () => number
  #stopped = false

  constructor(submitter: TestRuntime, database: pg.Pool, random: () => number) {
    this.#submitter = submitter
    this.#database = database
    this.#random = random
  }

  stop(): void {
    this.#stopped = true
  }

  async keepUp(signal: AbortSignal): Promise<void> {
    while (!this.#stopped && !signal.aborted) {
      const { rows } = await this.#database.query<{ open: number }>(
        `select count(*)::int as open from concordat.runs where phase not in ('COMPLETED', 'FAILED')`,
      )
      if ((rows[0]?.open ?? 0) < OUTSTANDING_RUNS) await this.#submitSome()
      await pause(OBSERVE_MS)
    }
  }

  async #submitSome(): Promise<void> {
    const requests = Array.from({ length: SUBMIT_BATCH }, () => {
      const id = `trajectory ${this.runs++}`
      if (this.#random() < 0.5) return { agent: 'witnessed', input: between(this.#random, 1, 12) }
      const trajectory = generateTrajectory(this.#random, id)
      return { agent: 'replay', input: trajectory, idempotencyKey: id, trajectory }
    })
    await Promise.all(
      requests.map(async ({ trajectory, ...request }) => {
        const { runId } = await this.#submitter.runs.submit({
          tenant: 'default',
          ...request,
          input: request.input as never,
        })
        if (trajectory) this.trajectories.set(runId, trajectory)
      }),
    )
  }
}

class Observer {
  readonly wrong: string[] = []
  looks = 0
  readonly #database: pg.Pool

  constructor(database: pg.Pool) {
    this.#database = database
  }

  async look(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { rows } = await this.#database.query(DISAGREEMENTS, ['5 seconds'])
      if (rows.length > 0) this.wrong.push(`observed: ${JSON.stringify(rows.slice(0, 3))}`)
      this.looks++
      await pause(OBSERVE_MS)
    }
  }
}

const DEEP_CHECKS = 40

/** Every replayed run has the steps of its trajectory, with outputs, errors, tokens and costs; some are compared in full. */
async function checkReplays(
  runtime: TestRuntime,
  trajectories: ReadonlyMap<string, GeneratedTrajectory>,
  random: () => number,
): Promise<string[]> {
  const wrong: string[] = []
  const totals = await runtime.database.query<{ run_id: string; steps: number; reason: string | null; nano: string }>(
    `select r.run_id, r.reason, count(s.step_key)::int as steps, coalesce(sum(s.cost_nano_usd), 0)::text as nano
       from concordat.runs r left join concordat.steps s using (tenant_id, run_id) where r.agent = 'replay'
      group by r.run_id, r.reason`,
  )
  for (const { run_id, steps, reason, nano } of totals) {
    const trajectory = trajectories.get(run_id)
    if (!trajectory || reason === 'WORKER_LOST') continue
    const cost = trajectory.steps.reduce((sum, step) => sum + Math.round((step.cost_usd ?? 0) * 1e9), 0)
    if (steps !== trajectory.steps.length) wrong.push(`run ${run_id} has ${steps} of ${trajectory.steps.length} steps`)
    if (Number(nano) !== cost) wrong.push(`run ${run_id} cost ${nano}, not ${cost} nano-dollars`)
  }
  const sample = [...trajectories].filter(() => random() < DEEP_CHECKS / Math.max(trajectories.size, 1))
  for (const [runId, trajectory] of sample) {
    const run = await runtime.runs.get('default', runId)
    if (run.reason === 'WORKER_LOST') continue
    const recorded = run.steps.map(({ kind, name, input, output, error, tokensIn, tokensOut }) => {
      return {
        kind,
        name,
        input,
        output,
        error: (error as { message: string } | null)?.message ?? null,
        tokensIn,
        tokensOut,
      }
    })
    const expected = trajectory.steps.map(({ kind, name, input, output, error, tokens_in, tokens_out }) => {
      return { kind, name, input, output, error, tokensIn: tokens_in, tokensOut: tokens_out }
    })
    if (JSON.stringify(recorded) !== JSON.stringify(expected)) wrong.push(`run ${runId} is not its trajectory`)
    if (run.status !== trajectory.outcome.status)
      wrong.push(`run ${runId} ${run.status}, its trajectory ${trajectory.outcome.status}`)
  }
  return wrong
}
