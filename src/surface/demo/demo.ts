import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '../../foundation/log.ts'
import { type Concordat, createConcordat } from '../../runtime.ts'
import { countFootprints, type FootprintCounts, unpublishedOf } from '../footprint/footprint.ts'
import type { RunReport } from '../library/library.ts'
import { demoAgents } from './demo-agents.ts'
import { type Scene, type Scenery, scenes } from './demo-scenes.ts'
import { startDemoServer } from './demo-server.ts'
import { codePaths, measureFile } from './package-files.ts'

export { type Scene, tellEnd } from './demo-scenes.ts'

const TENANT = 'default'
const LEASE_MS = 3_000
const PUBLISH_PATIENCE_MS = 10_000
const LOOK_MS = 20

/** Hears how the demo goes on. */
export interface DemoAudience {
  opening(folder: string): void
  begins(scene: Scene): void
  ended(scene: Scene, report: RunReport): void
}

export interface DemoOutcome {
  readonly reports: readonly RunReport[]
  /** Of all runs that are in the database, counted there. */
  readonly counts: FootprintCounts
  /** Agents whose run did not end as its scene says. */
  readonly surprises: readonly string[]
  /** Whether there are none, every scene was played, and each run left exactly its whole footprint, announced. */
  readonly holds: boolean
}

/**
 * Plays fourteen runs on an embedded database in a temporary folder, which is removed at the end: real work on this
 * machine, and failures of which each scene says what is staged. Profile STRICT. When the signal aborts, it ends after
 * the scene that is playing.
 */
export async function runDemo(audience: DemoAudience, log: Logger, signal: AbortSignal): Promise<DemoOutcome> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-demo-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove) // also when a second Ctrl-C ends it at once
  try {
    audience.opening(folder)
    return await withScenery(folder, log, (scenery) => play(scenery, audience, signal))
  } finally {
    remove()
    process.off('exit', remove)
  }
}

async function withScenery<T>(folder: string, log: Logger, work: (scenery: Scenery) => Promise<T>): Promise<T> {
  const files = await Promise.all((await codePaths()).map(measureFile))
  const server = await startDemoServer(files)
  const watching = Promise.withResolvers<void>()
  const resumed = Promise.withResolvers<void>()
  const tidying = Promise.withResolvers<void>()
  const policyChanged = Promise.withResolvers<void>()
  let concordat: Concordat | undefined
  try {
    concordat = await createConcordat({
      agents: demoAgents({
        watching: watching.resolve,
        untilResumed: () => resumed.promise,
        untilPolicyChanged: () => {
          tidying.resolve()
          return policyChanged.promise
        },
      }),
      authorize: ({ agent }) => agent !== 'deploy' || 'nobody deploys from a demo',
      allowedPrivateHosts: [server.host],
      log,
      env: {},
      config: { governanceProfile: 'STRICT', dataDir: folder, leaseMs: LEASE_MS, policyCheckIntervalMs: 0 },
    })
    await concordat.policies.apply(TENANT, [
      { name: 'bounded', metric: 'steps', max: 50 },
      { name: 'terse', metric: 'steps', max: 3, agent: 'chatty' },
      { name: 'tidied', metric: 'steps', max: 20, agent: 'tidy' },
      { name: 'frugal', metric: 'tokens', max: 20, agent: 'summary', effect: 'warn' },
    ])
    await concordat.start()
    return await work({
      concordat,
      server,
      watching: watching.promise,
      resumeSurvey: resumed.resolve,
      tidying: tidying.promise,
      policyChanged: policyChanged.resolve,
    })
  } finally {
    await concordat?.close()
    await server.close()
  }
}

async function play(scenery: Scenery, audience: DemoAudience, signal: AbortSignal): Promise<DemoOutcome> {
  const { runs, database } = scenery.concordat
  const surprises: string[] = []
  for (const scene of scenes) {
    if (signal.aborted) break
    audience.begins(scene)
    const runId = await scene.play(scenery)
    const report = await runs.get(TENANT, runId)
    if (report.status !== (scene.ends ?? 'succeeded')) surprises.push(scene.agent)
    audience.ended(scene, report)
  }
  const all = await database.query<{ run_id: string }>('select run_id from concordat.runs order by run_id')
  const runIds = all.map((row) => row.run_id)
  await scenery.concordat.audit.reconcileMany(TENANT, runIds)
  await untilPublished(scenery.concordat, runIds)
  const reports = await Promise.all(runIds.map((runId) => runs.get(TENANT, runId)))
  const counts = await countFootprints(database, TENANT, runIds)
  return { reports, counts, surprises, holds: surprises.length === 0 && holds(counts, scenes.length) }
}

async function untilPublished({ database }: Concordat, runIds: readonly string[]): Promise<void> {
  const patientUntil = performance.now() + PUBLISH_PATIENCE_MS
  while ((await unpublishedOf(database, TENANT, runIds)) > 0 && performance.now() < patientUntil) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

const ENDED = ['succeeded', 'failed', 'failed_policy', 'cancelled']
const ACKS_PER_RUN = 5

/** What the demo's last line says of all its runs. */
export function agreement({ runs, incidents, evaluations, traces, acks, findings, unpublished }: FootprintCounts) {
  const sum = (counts: { readonly [name: string]: number }, names = Object.keys(counts)) => {
    return names.reduce((total, name) => total + (counts[name] ?? 0), 0)
  }
  return {
    ended: sum(runs, ENDED),
    incidents: sum(incidents),
    evaluations: sum(evaluations),
    traces: sum(traces, ['COMPLETE', 'ABORTED']),
    acks: acks.SUCCESS ?? 0,
    missing: findings.missing ?? 0,
    drift: findings.drift ?? 0,
    outbox: unpublished,
  }
}

function holds(counts: FootprintCounts, expected: number): boolean {
  const { ended, incidents, evaluations, traces, acks, missing, drift, outbox } = agreement(counts)
  const oneEach = [ended, incidents, evaluations, traces].every((n) => n === expected)
  return (
    oneEach && acks === ACKS_PER_RUN * expected && missing + drift + outbox === 0 && counts.audit.COMPLETE === expected
  )
}
