import { setTimeout as pause } from 'node:timers/promises'
import type { PolicyInput } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { policyAgents } from './policy-agents.ts'
import { seeded } from './random.ts'
import { WorkerPool } from './worker-pool.ts'
import { startWorker } from './worker-process.ts'

export interface ChangePoliciesOptions {
  /** An empty PostgreSQL database. */
  readonly databaseUrl: string
  readonly seed: number
  /** Of each mode and change. */
  readonly runs: number
  readonly kills: number
  readonly workers: number
}

export interface ChangePoliciesReport {
  readonly runs: number
  readonly resumed: number
  readonly workersLost: number
  /** Runs that failed because too many of their workers were killed; they say nothing of policies. */
  readonly givenUp: number
  /** Empty: each run has ended as its mode says, and is told of just what was changed. */
  readonly wrong: readonly string[]
}

const MODES = ['pause', 'live', 'pinned'] as const
const CHANGES = ['changed', 'disabled', 'deleted'] as const
type Mode = (typeof MODES)[number]
type Change = (typeof CHANGES)[number]

const STEPS = 60
const POLL_MS = 50
const PATIENCE_MS = 120_000
const ada = { by: 'ada', as: 'OPERATOR' } as const
const SCRIPT = new URL('./policy-worker.ts', import.meta.url).pathname

const CASES = MODES.flatMap((mode) => CHANGES.map((change) => ({ tenant: `${mode}-${change}`, mode, change })))

/** Runs whose policies are changed, disabled and deleted on the way, on workers that are killed before and after. */
export async function changePolicies(options: ChangePoliciesOptions): Promise<ChangePoliciesReport> {
  const { databaseUrl, workers } = options
  const runtime = await createTestRuntime({ databaseUrl, agents: policyAgents(), started: false })
  const env = { WORKER_CONCURRENCY: '200' }
  const pool = new WorkerPool(workers, () => startWorker(databaseUrl, env, SCRIPT))
  try {
    return await underChange(options, runtime, pool)
  } finally {
    await pool.stop()
    await runtime.close()
  }
}

async function underChange(
  { seed, runs, kills }: ChangePoliciesOptions,
  runtime: TestRuntime,
  pool: WorkerPool,
): Promise<ChangePoliciesReport> {
  const random = seeded(seed)
  const { policies, tenants } = runtime.concordat
  const limit = (onChange: Mode): PolicyInput => ({ name: 'steps', metric: 'steps', max: 1_000, onChange })
  for (const { tenant, mode } of CASES) {
    await tenants.put({ tenantId: tenant })
    await policies.apply(tenant, [limit(mode)])
  }
  const input = { steps: STEPS, lastsMs: 30 }
  const all = CASES.flatMap(({ tenant }) => Array.from({ length: runs }, () => tenant))
  await Promise.all(all.map((tenant) => runtime.runs.submit({ tenant, agent: 'ticks', input })))
  await untilNone(
    runtime,
    `select run_id from concordat.runs r
      where (select count(*) from concordat.steps s where s.tenant_id = r.tenant_id and s.run_id = r.run_id) < 2`,
  )
  const changes: Readonly<Record<Change, (mode: Mode) => PolicyInput[]>> = {
    changed: (mode) => [{ ...limit(mode), max: 1 } as PolicyInput],
    disabled: (mode) => [{ ...limit(mode), enabled: false }],
    deleted: () => [],
  }
  const changing = CASES.map(async ({ tenant, mode, change }) => {
    await pause(random() * 300)
    await policies.apply(tenant, changes[change](mode), { prune: change === 'deleted' })
  })
  const killing = killSome(runtime, pool, random, Math.ceil(kills / 2))
  await Promise.all([...changing, killing])
  const pausing = `tenant_id like 'pause-%'`
  await untilNone(runtime, `select run_id from concordat.runs where ${pausing} and not paused`)
  const resuming = CASES.filter(({ mode }) => mode === 'pause').map(({ tenant }) => {
    return runtime.runs.resumeAll({ tenant, ...ada })
  })
  const resumed = (await Promise.all(resuming)).reduce((sum, each) => sum + each.resumed, 0)
  await killSome(runtime, pool, random, Math.floor(kills / 2))
  await untilNone(runtime, `select run_id from concordat.runs where phase not in ('COMPLETED', 'FAILED')`)
  const [lost] = await runtime.database.query<{ n: number }>(
    'select count(*)::int as n from concordat.runs where worker_losses > 0',
  )
  return { runs: all.length, resumed, workersLost: lost?.n ?? 0, ...(await howTheyEnded(runtime)) }
}

/** Of workers that hold runs: one may have claimed them all, and nobody would miss the others. */
async function killSome(
  { database }: TestRuntime,
  pool: WorkerPool,
  random: () => number,
  kills: number,
): Promise<void> {
  const holders = async () => {
    const rows = await database.query<{ pid: number }>(
      `select distinct substring(w.process from ':([0-9]+)$')::int as pid
         from concordat.workers w join concordat.runs r using (worker_id)`,
    )
    return new Set(rows.map(({ pid }) => pid))
  }
  for (let killed = 0; killed < kills; killed++) await pool.killOne(random, holders)
}

/** Type, version before and version after of each violation, and how the run ends. */
const EXPECTED: Readonly<Record<Mode, Readonly<Record<Change, readonly [string, readonly string[]]>>>> = {
  pause: {
    changed: ['failed_policy', ['LIMIT_CHANGED 1 2', 'BUDGET_EXCEEDED 2 2']],
    disabled: ['succeeded', ['POLICY_DISABLED 1 2']],
    deleted: ['succeeded', ['POLICY_DISABLED 1 null']],
  },
  live: {
    changed: ['failed_policy', ['BUDGET_EXCEEDED 1 2']],
    disabled: ['succeeded', []],
    deleted: ['succeeded', []],
  },
  pinned: { changed: ['succeeded', []], disabled: ['succeeded', []], deleted: ['succeeded', []] },
}

async function howTheyEnded({ runs, concordat }: TestRuntime) {
  const wrong: string[] = []
  let givenUp = 0
  for (const { tenant, mode, change } of CASES) {
    const [status, told] = EXPECTED[mode][change]
    for (const { runId } of await concordat.runs.list({ tenantId: tenant, limit: 1_000 })) {
      const run = await runs.get(tenant, runId)
      if (run.reason === 'WORKER_LOST') {
        givenUp++
        continue
      }
      const seen = run.violations.map(({ type, previousVersion, policyVersion }) => {
        return `${type} ${previousVersion} ${policyVersion}`
      })
      const evaluated = run.evaluation?.violations ?? []
      const pauses = run.pauses.map(({ reason, endedHow }) => `${reason} ${endedHow}`)
      const found = JSON.stringify([run.status, seen, evaluated.length, pauses])
      const wanted = JSON.stringify([status, told, told.length, mode === 'pause' ? ['POLICY_CHANGE RESUMED'] : []])
      if (found !== wanted) wrong.push(`${tenant} ${runId}: ${found}, not ${wanted}`)
      if (status === 'succeeded' && run.steps.length !== STEPS) wrong.push(`${runId}: ${run.steps.length} steps`)
    }
  }
  return { givenUp, wrong }
}

async function untilNone({ database }: TestRuntime, sql: string): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    const rows = await database.query(sql)
    if (rows.length === 0) return
    if (performance.now() > giveUpAt) throw new Error(`${rows.length} runs have not come so far: ${sql}`)
    await pause(POLL_MS)
  }
}
