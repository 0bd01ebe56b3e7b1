import type { RunStatus } from '../../domains/runs/runs.ts'
import type { Json } from '../../foundation/json.ts'
import type { Concordat } from '../../runtime.ts'
import type { RunReport } from '../library/library.ts'
import type { DemoServer } from './demo-server.ts'
import { allowIncidentsAgain, refuseIncidentsOf } from './staging.ts'

/** What a scene acts upon. */
export interface Scenery {
  readonly concordat: Concordat
  readonly server: DemoServer
  /** Resolves when agent `watch` is in the middle of its step. */
  readonly watching: Promise<void>
  /** Lets agent `survey` go on. */
  readonly resumeSurvey: () => void
  /** Resolves when agent `tidy` is in the middle of its second step. */
  readonly tidying: Promise<void>
  /** Lets it go on. */
  readonly policyChanged: () => void
}

/** One run: what it is for, what about it is staged, how it is brought about, and what came of it. */
export interface Scene {
  readonly agent: string
  readonly about: string
  /** What the demo has arranged, where anything is. */
  readonly staged?: string
  /** How it is to end, unless it succeeds. */
  readonly ends?: RunStatus
  /** Brings about the run and resolves with its id when it has ended. */
  play(scenery: Scenery): Promise<string>
  /** What came of it, where that is not the error that it ended with. */
  readonly told?: (report: RunReport) => string
}

const TENANT = 'default'
const ABANDONED_LEASE_MS = 500
const LOOK_MS = 20
const PATIENCE_MS = 20_000

export const scenes: readonly Scene[] = [
  {
    agent: 'census',
    about: 'counts the files, lines and words of this package’s code',
    play: submitted('census'),
    told: ({ output }) => text(output, 'files', 'lines', 'words'),
  },
  {
    agent: 'exports',
    about: 'checks that everything the package exports is there',
    play: submitted('exports'),
    told: ({ output }) => text(output, 'parts', 'missing'),
  },
  {
    agent: 'links',
    about: 'follows the links of README and docs',
    play: submitted('links'),
    told: ({ output }) => text(output, 'documents', 'links', 'broken'),
  },
  {
    agent: 'report',
    about: 'a plan without code: asks a local server, transforms its JSON, posts the result',
    staged: 'its optional step asks for a link-local address, which http_call refuses',
    play: submitted('report', ({ server }) => ({ server: server.host })),
    told: ({ steps }) =>
      `${text(steps.find(({ key }) => key.startsWith('shape'))?.output ?? null, 'files', 'bytes')}; the optional step failed, the run did not`,
  },
  {
    agent: 'summary',
    about: 'asks a model to sum the package up',
    staged: 'a scripted model answers; a policy warns above 20 tokens',
    play: submitted('summary'),
    told: ({ output, steps }) =>
      `“${field(output, 'text')}” ${steps.reduce((sum, step) => sum + (step.tokensIn ?? 0) + (step.tokensOut ?? 0), 0)} tokens`,
  },
  {
    agent: 'flaky',
    about: 'calls a service until it works',
    staged: 'the local server answers 503 twice',
    play: submitted('flaky', ({ server }) => ({ server: server.host })),
    told: ({ output }) => `healed on try ${field(output, 'tries')}; between the tries it held no worker slot`,
  },
  {
    agent: 'missing',
    about: 'reads a file that does not exist',
    ends: 'failed',
    play: submitted('missing'),
  },
  {
    agent: 'chatty',
    about: 'wants more steps than its budget has',
    staged: 'a policy allows it 3 steps',
    ends: 'failed_policy',
    play: submitted('chatty'),
    told: ({ reason, violations }) => `${reason}, before the step was taken: ${violations[0]?.message}`,
  },
  {
    agent: 'tidy',
    about: 'looks for long files; meanwhile its policy is changed',
    staged: 'the demo changes the policy, and plays the operator who lets the run go on',
    play: pausedByChange,
    told: ({ pauses, violations, output }) => {
      const { previousVersion, policyVersion } = violations[0] ?? {}
      return `paused (${pauses[0]?.reason}, version ${previousVersion} → ${policyVersion}), resumed, done: ${output} long files`
    },
  },
  {
    agent: 'publish',
    about: 'asks before it announces a version',
    staged: 'the demo plays who approves it; nothing leaves this machine',
    play: approved,
    told: ({ output, pauses }) => `paused (${pauses[0]?.reason}), approved, then done: ${output}`,
  },
  {
    agent: 'deploy',
    about: 'asks to be run, and is denied',
    staged: 'the demo’s authorize hook refuses this agent',
    ends: 'failed_policy',
    play: submitted('deploy'),
  },
  {
    agent: 'watch',
    about: 'looks at the code again and again, until somebody stops it',
    staged: 'the demo plays the person',
    ends: 'cancelled',
    play: stoppedByHand,
    told: ({ stop }) => `stopped in the middle of its step, ${sinceRequest(stop)} ms after the request`,
  },
  {
    agent: 'ledger',
    about: 'seals package.json with its SHA-256; then a domain refuses its end',
    staged: 'a database trigger refuses its incident until it is dropped',
    play: refusedOnce,
    told: ({ acks }) => {
      const undone = acks.filter(({ status }) => status === 'ROLLED_BACK').length
      return `stayed FINALIZING with nothing half written (${undone} ROLLED_BACK acks), then finalised by itself`
    },
  },
  {
    agent: 'survey',
    about: 'is resumed by another worker after the last step that it recorded',
    staged: 'its worker falls silent and keeps its short lease, as if it had died',
    play: abandoned,
    told: ({ workerLosses, steps }) => `${workerLosses} worker lost, ${steps.length} steps, none recorded twice`,
  },
]

/** What came of a scene, for people: what it tells if it ended as it should, else the error. */
export function tellEnd({ ends = 'succeeded', told }: Scene, report: RunReport): string {
  if (told && report.status === ends) return told(report)
  return `${report.reason}: ${field(report.error, 'message')}`
}

/** Submits a run and waits for its end, whatever it is. */
function submitted(agent: string, input: (scenery: Scenery) => Json = () => null): Scene['play'] {
  return async (scenery) => {
    const run = await scenery.concordat.runs.submit({ tenant: TENANT, agent, input: input(scenery) })
    await run.result().catch(() => {}) // how it ended is in its record
    return run.runId
  }
}

async function stoppedByHand({ concordat: { runs }, watching }: Scenery): Promise<string> {
  const run = await runs.submit({ tenant: TENANT, agent: 'watch' })
  await watching
  await runs.stop(TENANT, run.runId, { by: 'demo', why: 'it has watched long enough' })
  await run.result().catch(() => {})
  return run.runId
}

async function pausedByChange({ concordat: { runs, policies }, tidying, policyChanged }: Scenery): Promise<string> {
  const { runId, result } = await runs.submit({ tenant: TENANT, agent: 'tidy' })
  await tidying
  await policies.apply(TENANT, [{ name: 'tidied', metric: 'steps', max: 10, agent: 'tidy' }])
  policyChanged()
  await until(async () => (await runs.get(TENANT, runId)).status === 'paused')
  await runs.resume(TENANT, runId, { by: 'demo', as: 'OPERATOR', note: 'ten steps will do' })
  await result()
  return runId
}

async function approved({ concordat: { runs, approvals } }: Scenery): Promise<string> {
  const { runId, result } = await runs.submit({ tenant: TENANT, agent: 'publish' })
  await until(async () => (await runs.get(TENANT, runId)).status === 'paused')
  for (const { approvalId } of await approvals.list({ tenantId: TENANT })) {
    await approvals.decide(TENANT, approvalId, { decision: 'approved', by: 'demo', as: 'TENANT_ADMIN', note: 'go' })
  }
  await result()
  return runId
}

async function refusedOnce({ concordat: { runs, database } }: Scenery): Promise<string> {
  await refuseIncidentsOf(database, 'ledger')
  try {
    const run = await runs.submit({ tenant: TENANT, agent: 'ledger' })
    await until(async () => (await runs.get(TENANT, run.runId)).pending?.blockedBy === 'incidents')
    await allowIncidentsAgain(database)
    await run.result()
    return run.runId
  } finally {
    await allowIncidentsAgain(database)
  }
}

async function abandoned({ concordat, resumeSurvey }: Scenery): Promise<string> {
  const { runs, worker } = concordat
  const other = concordat.createWorker()
  await other.start()
  try {
    const run = await runs.submit({ tenant: TENANT, agent: 'survey' })
    await until(async () => (await runs.get(TENANT, run.runId)).steps.length === 2)
    const { workerId } = await runs.get(TENANT, run.runId)
    const holder = other.workerId === workerId ? other : worker
    await holder.abandon(ABANDONED_LEASE_MS)
    resumeSurvey()
    await run.result()
    return run.runId
  } finally {
    await other.stop()
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const patientUntil = performance.now() + PATIENCE_MS; !(await holds()); ) {
    if (performance.now() > patientUntil)
      throw new Error(`what the demo has staged did not come about in ${PATIENCE_MS} ms`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

function sinceRequest(stop: RunReport['stop']): number {
  return stop?.confirmedAt ? new Date(stop.confirmedAt).getTime() - new Date(stop.requestedAt).getTime() : Number.NaN
}

/** `3 files, 12 lines`: fields of an output with their names; lists by their length. */
function text(output: Json, ...names: string[]): string {
  return names
    .map((name) => {
      const value = field(output, name)
      return `${(Array.isArray(value) ? value.length : Number(value)).toLocaleString('en-US')} ${name}`
    })
    .join(', ')
}

function field(value: Json, name: string): Json {
  return (value as { readonly [name: string]: Json } | null)?.[name] ?? null
}
