import { cpus } from 'node:os'
import { silentLogger } from '../src/foundation/log.ts'
import { createConcordat, defineAgent, type PolicyInput } from '../src/index.ts'

/*
 * One process that does the main job as fast as it can, in the shape of the bare group committer that it stands
 * beside: submit, claim, five durable steps, the whole footprint, events to Redis, a consumer that parses them. Runs are
 * submitted by 50 submitters in turn; afterwards 100 runs one by one, for latency at low load. Prints one JSON line.
 * Profile STRICT, unless the environment says another, with so many policies.
 */
const [inFlight = '200', runs = '20000', lowRuns = '100', sideEffects = 'false', policies = 'none'] =
  process.argv.slice(2)
const SUBMITTERS = 50
/** As the ceiling's harness does. */
const SETTLE_MS = 500
const LOW_LOAD_GAP_MS = 30
const WARM_UP_RUNS = 400
/** So long without an end being heard of, the database is asked. */
const QUIET_MS = 1_000

const OUTPUT = { ok: true, tokens: 120, text: 'x'.repeat(60) }
/** By a step, where policies look at it. */
const USED = { tokensIn: 400, tokensOut: 120, costUsd: 0.002 }
const INPUT = { input: 'x'.repeat(200) }

const CONDITIONS = Array.from({ length: 5 }, (_, i) => {
  return { name: `condition-${i}`, when: `step.tool == "shell" && run.cost_usd > ${i}.5 || run.steps > ${1_000 + i}` }
})
const RUN_LIMITS: PolicyInput[] = [
  { name: 'run-cost', metric: 'cost_usd', max: 5 },
  { name: 'run-tokens', metric: 'tokens', max: 500_000 },
  { name: 'run-steps', metric: 'steps', max: 200 },
  { name: 'run-seconds', metric: 'wall_clock_seconds', max: 600 },
]
const SHARED_LIMITS: PolicyInput[] = [
  { name: 'agent-day', metric: 'tokens', max: 1_000_000_000, scope: 'agent', window: 'day' },
  { name: 'tenant-month', metric: 'cost_usd', max: 100_000, scope: 'tenant', window: 'month' },
]
/** What a tenant may have in force: rules, limits of each run, budgets that all runs share. */
const POLICIES: Readonly<Record<string, readonly PolicyInput[]>> = {
  conditions: CONDITIONS,
  run: [...CONDITIONS, ...RUN_LIMITS],
  shared: [...CONDITIONS, ...RUN_LIMITS, ...SHARED_LIMITS],
}

const started = new Map<string, number>()
const latencies: number[] = []

const agent = defineAgent({
  name: 'bench',
  version: '1',
  async run({ step }) {
    for (let i = 0; i < 5; i++) {
      if (policies === 'none') await step.do(`step${i}`, () => OUTPUT, { sideEffects: sideEffects === 'true' })
      else await step.record({ kind: 'llm', name: `step${i}`, input: null, output: OUTPUT, ...USED })
    }
  },
})

const concordat = await createConcordat({
  agents: [agent],
  log: silentLogger,
  env: { GOVERNANCE_PROFILE: 'STRICT', ...process.env },
  config: { workerConcurrency: Number(inFlight) },
})
await concordat.policies.apply('default', POLICIES[policies] ?? [])
let events = 0
let ended = 0
await concordat.start()
const subscription = await concordat.bus.subscribe(({ type }) => {
  events++
  if (type === 'run.completed' || type === 'run.failed') ended++
})

async function submitAll(count: number): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: SUBMITTERS }, async () => {
      while (next++ < count) await concordat.runs.submit({ tenant: 'default', agent: 'bench', input: INPUT })
    }),
  )
}

/**
 * Until the ends of so many runs are heard of, which is after their commits: asking the database all the while cost it a
 * hundredth of its time. An event that is lost costs a second; then the database counts.
 */
async function untilEnded(count: number): Promise<void> {
  for (let heard = ended, lookAt = performance.now() + QUIET_MS; ended < count; ) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (ended === heard && performance.now() < lookAt) continue
    if (ended === heard && (await endedRuns()) === count) return
    heard = ended
    lookAt = performance.now() + QUIET_MS
  }
  const stored = await endedRuns()
  if (stored !== count) throw new Error(`${stored} of ${count} runs have ended`)
}

async function endedRuns(): Promise<number> {
  const [row] = await concordat.database.query<{ runs: number }>(
    `select count(*)::int as runs from concordat.runs where phase in ('COMPLETED', 'FAILED')`,
  )
  return row?.runs ?? 0
}

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

await submitAll(WARM_UP_RUNS)
await untilEnded(WARM_UP_RUNS)

const cpuBefore = process.cpuUsage()
const from = performance.now()
await submitAll(Number(runs))
await untilEnded(WARM_UP_RUNS + Number(runs))
const seconds = (performance.now() - from) / 1_000
const cpu = process.cpuUsage(cpuBefore)

await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
for (let i = 0; i < Number(lowRuns); i++) {
  const at = performance.now()
  const run = await concordat.runs.submit({ tenant: 'default', agent: 'bench', input: INPUT })
  started.set(run.runId, at)
  await run.result()
  latencies.push(performance.now() - at)
  await new Promise((resolve) => setTimeout(resolve, LOW_LOAD_GAP_MS * (0.5 + Math.random())))
}

await concordat.stop()
const [counted] = await concordat.database.query<Record<string, number>>(
  `select (select count(*)::int from concordat.steps) as steps, (select count(*)::int from concordat.audit_acks) as acks,
          (select count(*)::int from concordat.outbox where published_at is null) as unpublished`,
)
await subscription.close()
await concordat.close()
process.stdout.write(
  `${JSON.stringify({
    runsPerSecond: Math.round(Number(runs) / seconds),
    nodeCpuMsPerRun: Number(((cpu.user + cpu.system) / 1_000 / Number(runs)).toFixed(3)),
    rssMb: Math.round(process.memoryUsage().rss / 1_048_576),
    p50Ms: Number(percentile(latencies, 0.5).toFixed(2)),
    p99Ms: Number(percentile(latencies, 0.99).toFixed(2)),
    cores: cpus().length,
    events,
    ...counted,
  })}\n`,
)
