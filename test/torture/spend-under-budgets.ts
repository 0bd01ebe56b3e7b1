import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import type { Json, PolicyInput } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { budgetAgents, type PlannedCall, type PlannedCalls, type PlannedFamily } from './budget-agents.ts'
import { checkLedger, checkLedgerAtTheEnd, checkSettled } from './ledger-promises.ts'
import { between, oneOf, seeded } from './random.ts'
import { generateTrajectory } from './trajectories.ts'
import { WorkerPool } from './worker-pool.ts'
import { startWorker } from './worker-process.ts'

export interface SpendOptions {
  /** An empty PostgreSQL database. */
  readonly databaseUrl: string
  readonly seed: number
  readonly runs: number
  readonly kills: number
  readonly workers?: number
}

export interface SpendReport {
  readonly runs: number
  /** Of these, those that others started. */
  readonly children: number
  readonly refused: number
  readonly resumed: number
  readonly waited: number
  readonly overruns: number
  readonly observations: number
  /** What must never be seen and was, and what was wrong at the end. Empty: all promises hold. */
  readonly wrong: readonly string[]
}

const TENANTS = 4
const OUTSTANDING_RUNS = 40
const POLL_MS = 50
/** A look costs more than a run. */
const OBSERVE_MS = 100
const SETTLE_MS = 120_000

/** Recorded runs, made-up ones and such as start others, of several tenants with budgets at random levels, on workers that are killed. */
export async function spendUnderBudgets(options: SpendOptions): Promise<SpendReport> {
  const { databaseUrl, seed, runs, kills, workers = 3 } = options
  const random = seeded(seed)
  const runtime = await createTestRuntime({ databaseUrl, agents: budgetAgents(), started: false })
  const { database } = runtime
  const script = new URL('./budget-worker.ts', import.meta.url).pathname
  const pool = new WorkerPool(workers, () => startWorker(databaseUrl, {}, script))
  const over = new AbortController()
  const wrong: string[] = []
  let observations = 0
  const observing = (async () => {
    for (; !over.signal.aborted; observations++) {
      wrong.push(...(await checkLedger(database)), ...(await checkSettled(database)))
      if (wrong.length > 0) break
      await pause(OBSERVE_MS)
    }
  })()
  try {
    await setUpTenants(runtime, random, runs)
    const submitting = submitAll(runtime, random, runs)
    for (let killed = 0; killed < kills; killed++) await pool.killOne(random)
    await submitting
    await allEnded(runtime)
    over.abort()
    await observing
    wrong.push(
      ...(await checkLedger(database)),
      ...(await checkSettled(database)),
      ...(await checkLedgerAtTheEnd(database)),
    )
    const [counted] = await database.query<Omit<SpendReport, 'observations' | 'wrong'>>(
      `select (count(*))::int as runs, count(parent_run_id)::int as children,
              (count(*) filter (where reason = 'BUDGET_EXCEEDED'))::int as refused,
              (count(*) filter (where worker_losses > 0))::int as resumed,
              (count(*) filter (where lease_token > worker_losses + 1))::int as waited,
              (select count(*) from concordat.budgets where overrun > 0)::int as overruns
         from concordat.runs`,
    )
    return { ...counted!, observations, wrong }
  } finally {
    over.abort()
    await observing.catch(() => undefined)
    await pool.stop()
    await runtime.close()
  }
}

async function setUpTenants({ concordat }: TestRuntime, random: () => number, runs: number): Promise<void> {
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    const tenantId = `tenant-${tenant}`
    await concordat.tenants.put({ tenantId })
    await concordat.policies.apply(tenantId, randomBudgets(random, runs / TENANTS))
  }
}

/** Nested budgets: some that no run comes near, some that stop the first one. */
function randomBudgets(random: () => number, runs: number): PolicyInput[] {
  const level = (most: number) => Math.max(1, Math.round(most * random() * 1.5))
  const budgets: PolicyInput[] = [
    { name: 'run cost', metric: 'cost_usd', max: level(40_000) / 1e6 },
    { name: 'run tokens', metric: 'tokens', max: level(6_000) },
    { name: 'run steps', metric: 'steps', max: level(30) },
    { name: 'agent tokens', metric: 'tokens', max: level(2_500 * runs), scope: 'agent', window: 'month' },
    { name: 'agent calls', metric: 'tool_calls', max: level(4 * runs), scope: 'agent', window: 'day' },
    { name: 'tenant cost', metric: 'cost_usd', max: level(15_000 * runs) / 1e6, scope: 'tenant', window: 'month' },
    { name: 'key tokens', metric: 'tokens', max: level(1_500 * runs), scope: 'api_key', window: 'month' },
    { name: 'tenant warning', metric: 'cost_usd', max: 0.01, scope: 'tenant', window: 'month', effect: 'warn' },
  ].map((policy) => ({ ...policy, name: policy.name.replace(' ', '-') }) as PolicyInput)
  return budgets.filter(() => random() < 0.7)
}

/** So many at a time that the budgets are shared by concurrent runs, and not all are spent by the first ones. */
async function submitAll(runtime: TestRuntime, random: () => number, runs: number): Promise<void> {
  const recorded = recordedTrajectories()
  for (let run = 0; run < runs; ) {
    const [{ open } = { open: 0 }] = await runtime.database.query<{ open: number }>(
      `select count(*)::int as open from concordat.runs where phase not in ('COMPLETED', 'FAILED')`,
    )
    for (let more = OUTSTANDING_RUNS - open; more > 0 && run < runs; more--, run++) {
      const request =
        random() < 0.4
          ? {
              agent: 'replay',
              input: recorded ? oneOf(random, recorded) : asJson(generateTrajectory(random, `${run}`)),
            }
          : random() < 0.6
            ? { agent: 'caller', input: asJson(randomCalls(random)) }
            : { agent: 'family', input: asJson(randomFamily(random, 2)) }
      const apiKeyId = oneOf(random, [undefined, 'a', 'b'])
      await runtime.runs.submit({ tenant: `tenant-${between(random, 0, TENANTS - 1)}`, apiKeyId, ...request })
    }
    await pause(POLL_MS)
  }
}

function asJson(value: object): Json {
  return JSON.parse(JSON.stringify(value)) as Json
}

function randomCalls(random: () => number): PlannedCalls {
  const call = (): PlannedCall => {
    const tokensOut = between(random, 0, 400)
    const declares = random()
    const maxTokens =
      declares < 0.4 ? null : declares < 0.95 ? tokensOut + between(random, 0, 200) : between(random, 0, tokensOut)
    return { tokensOut, maxTokens, lastsMs: between(random, 0, 30) }
  }
  return Array.from({ length: between(random, 1, 6) }, () => Array.from({ length: between(random, 1, 3) }, call))
}

function randomFamily(random: () => number, generations: number): PlannedFamily {
  const count = generations === 0 ? 0 : between(random, 1, 3)
  const children = Array.from({ length: count }, () => randomFamily(random, between(random, 0, generations - 1)))
  return { calls: randomCalls(random).slice(0, 2), children }
}

/** Recorded runs with what each step cost, where they are at hand. */
function recordedTrajectories(): Json[] | null {
  const path = new URL('../../../shared/trajectories/tau2-bench.jsonl.gz', import.meta.url)
  if (!existsSync(path)) return null
  const lines = gunzipSync(readFileSync(path)).toString().split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Json)
}

async function allEnded({ database }: TestRuntime): Promise<void> {
  const giveUpAt = performance.now() + SETTLE_MS
  for (;;) {
    const rows = await database.query(
      `select run_id, phase, waiting, worker_losses from concordat.runs where phase not in ('COMPLETED', 'FAILED') limit 3`,
    )
    if (rows.length === 0) return
    if (performance.now() > giveUpAt) throw new Error(`runs have not ended: ${JSON.stringify(rows)}`)
    await pause(100)
  }
}
