import type { Agent, AgentContext, AgentDirectory, Secrets, SignalSchemas } from '../../domains/agents/agents.ts'
import { checkpointsOfRun, type RunEnd } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { backoffMs, sleep } from '../../foundation/backoff.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Json } from '../../foundation/json.ts'
import type { Logger } from '../../foundation/log.ts'
import type { PayloadCodec } from '../../foundation/payload-codec.ts'
import { type Database, isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import {
  type CompletionContext,
  type CompletionOutcome,
  type CompletionRequest,
  createGovernanceRecordsForRun,
} from '../completion/completion.ts'
import { type RunOrchestrationKernel, stoppedEnd } from '../kernel/kernel.ts'
import type { StartChild } from './child-runs.ts'
import { knownRun } from './known-run.ts'
import { type ObservabilityGuard, ObservabilityMode } from './observability-guard.ts'
import type { Prices } from './prices.ts'
import type { Interruption, RunControl } from './run-control.ts'
import { deadlineEnd, failedEnd, succeededEnd } from './run-end.ts'
import { runPlan } from './run-plan.ts'
import type { RunScope } from './run-scope.ts'
import { createStepApi } from './step-api.ts'
import { StepExecutor } from './step-executor.ts'
import type { OpenGate } from './step-gate.ts'

export interface RunnerOptions {
  readonly database: Database
  readonly kernel: RunOrchestrationKernel
  readonly completion: CompletionContext
  readonly guard: ObservabilityGuard
  readonly observabilityMode: ObservabilityMode
  readonly directory: AgentDirectory
  readonly secrets: Secrets
  readonly prices: Prices
  readonly schemas: SignalSchemas
  readonly codec: PayloadCodec
  /** Submits what `step.run` starts. */
  readonly startChild: StartChild
  readonly clock: Clock
  readonly newId: IdSource
  readonly random: () => number
  readonly log: Logger
  readonly stepTimeoutMs: number
  /** How long a step that was told to abort may take before it is left behind. */
  readonly stopGraceMs: number
  readonly scope: RunScope
  readonly openGate: OpenGate
}

/** What became of a run that this worker executed. `released`: it goes on later, here or elsewhere. */
export type RunClosing = CompletionOutcome | { readonly kind: 'released'; readonly dueAt: Date | null }

const OUTPUT_LIMIT = {
  bytesMax: limits.stepOutputBytesMax,
  what: 'run output',
  tooLargeCode: 'OUTPUT_TOO_LARGE',
} as const
const CLOSE_RETRY_BASE_MS = 200
const CLOSE_RETRY_CAP_MS = 5_000

/** One run, from its claim to its end: read this and know the run. */
export async function runToEnd(options: RunnerOptions, control: RunControl): Promise<RunClosing> {
  const executor = await openExecutor(options, control)
  const stopDeadline = armDeadline(control, executor)
  const interruption = await executeSteps(options, control, executor)
  stopDeadline()
  const [confirmed, noted] = await Promise.all([
    settleSteps(executor, options.stopGraceMs),
    noteStop(options, control, interruption),
  ])
  return closeRun(options, control, interruption, { executor, confirmed, noted })
}

async function openExecutor(options: RunnerOptions, control: RunControl): Promise<StepExecutor> {
  const { claim } = control
  const recorded = claim.fresh ? [] : await checkpointsOfRun(options.database, claim)
  if (claim.traceGap !== null && options.observabilityMode === ObservabilityMode.STRICT) {
    const error = new AppError('OBSERVABILITY', `the run's trace could not be started: ${claim.traceGap}`)
    control.interrupt({ kind: 'end', end: failedEnd(error, true) })
  }
  const gate = options.openGate(control, () => executor.totals)
  const executor: StepExecutor = new StepExecutor({ ...options, control, recorded, gate })
  return executor
}

/** The deadline counts the time that the run executes, over all its workers. */
function armDeadline(control: RunControl, executor: StepExecutor): () => void {
  const { timeoutMs, activeMs } = control.claim
  const timer = setTimeout(
    () => control.interrupt({ kind: 'end', end: deadlineEnd(timeoutMs, executor.settled) }),
    Math.min(Math.max(timeoutMs - activeMs, 0), limits.timerMsMax),
  )
  return () => clearTimeout(timer)
}

/** The agent's code, until it returns, throws or is interrupted; whichever comes first is how the execution ends. */
async function executeSteps(
  options: RunnerOptions,
  control: RunControl,
  executor: StepExecutor,
): Promise<Interruption> {
  if (control.interruption) return control.interruption
  const { claim } = control
  const agent = options.directory.find(claim.agent, claim.agentVersion)
  const calling = options.scope.within(control, () => callAgent(options, control, executor, agent))
  const working = calling.then(
    (output) => control.interrupt({ kind: 'end', end: endWith(options.codec, output) }),
    (error) => control.interrupt({ kind: 'end', end: failedEnd(error, executor.settled) }),
  )
  working.catch((error) => options.log.error({ error, runId: claim.runId }, 'an agent could not be closed'))
  return control.interrupted
}

async function callAgent(
  options: RunnerOptions,
  control: RunControl,
  executor: StepExecutor,
  agent: Agent,
): Promise<unknown> {
  const { claim } = control
  const { codec, directory, secrets, prices, schemas } = options
  const step = createStepApi({ agent, directory, executor, prices, schemas })
  const input = codec.decode(claim.input)
  if (agent.kind === 'plan') return runPlan(agent.plan, { input, step, skills: directory.skills, secrets })
  const metadata: Json = claim.metadata === null ? null : codec.decode(claim.metadata)
  const context: AgentContext = {
    input,
    step,
    secrets,
    run: { runId: claim.runId, tenantId: claim.tenantId, metadata },
    get signal() {
      return control.signal
    },
  }
  return agent.run(context)
}

function endWith(codec: PayloadCodec, output: unknown): RunEnd {
  try {
    return succeededEnd(codec.encode(output ?? null, OUTPUT_LIMIT))
  } catch (error) {
    return failedEnd(error, true)
  }
}

/** Waits for the steps in flight, which have been told to abort. Null: one ignores its signal, and is left behind. */
async function settleSteps(executor: StepExecutor, graceMs: number): Promise<boolean> {
  if (executor.settled) return true
  const patience = new AbortController()
  await Promise.race([executor.idle(), sleep(graceMs, patience.signal).catch(() => undefined)])
  patience.abort()
  return executor.settled
}

/** While steps still settle: so that a stop is seen as delivered. False when that failed, and is to be done again. */
async function noteStop(options: RunnerOptions, control: RunControl, heard: Interruption): Promise<boolean> {
  if (heard.kind !== 'stop') return true
  const { runId, tenantId } = control.claim
  try {
    await options.kernel.noteHeardStop({ ...heard, lease: control.claim })
    return true
  } catch (error) {
    options.log.warn({ error, runId, tenantId }, 'a delivered stop could not be noted yet')
    return false
  }
}

interface Settled {
  readonly executor: StepExecutor
  /** False when a step ignores that it was told to abort. */
  readonly confirmed: boolean
  /** True when the row of a run that ends by a stop has that stop. */
  readonly noted: boolean
}

/** Ends, pauses or releases the run. While the database refuses even that, it is tried again: the lease decides how long. */
async function closeRun(
  options: RunnerOptions,
  control: RunControl,
  interruption: Interruption,
  settled: Settled,
): Promise<RunClosing> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await closeOnce(options, control, interruption, settled)
    } catch (error) {
      const { runId, tenantId } = control.claim
      options.log.error({ error, runId, tenantId, attempt }, 'a run could not be closed and will be tried again')
      if (control.lost) return { kind: 'lease_lost' }
      // What can't be given back even though the database answers will not be by trying again: it ends.
      if ((interruption.kind === 'suspend' || interruption.kind === 'pause') && !isRetryable(error)) {
        return closeRun(options, control, { kind: 'end', end: failedEnd(error, false) }, settled)
      }
      await sleep(
        backoffMs({ attempt, baseMs: CLOSE_RETRY_BASE_MS, capMs: CLOSE_RETRY_CAP_MS, random: options.random }),
      )
    }
  }
}

async function closeOnce(
  options: RunnerOptions,
  control: RunControl,
  interruption: Interruption,
  { executor, confirmed, noted }: Settled,
): Promise<RunClosing> {
  const { kernel } = options
  const { claim } = control
  if (interruption.kind !== 'lost') await executor.close(interruption.kind === 'end' || interruption.kind === 'stop')
  const stopped = (deliveredAt: Date): Promise<CompletionOutcome> => {
    const stop = { deliveredAt, confirmedAt: confirmed ? options.clock.now() : null }
    const end = stoppedEnd({ kind: 'stop', by: 'request', why: 'a stop was requested' })
    return complete(options, control, executor, end, { stop })
  }
  switch (interruption.kind) {
    case 'lost':
      return { kind: 'lease_lost' }
    case 'stop':
      if (!noted) await kernel.noteHeardStop({ ...interruption, lease: claim })
      return stopped(interruption.deliveredAt)
    case 'suspend': {
      const { waiting, dueAt, signalsSeen } = interruption
      if (await kernel.release({ lease: claim, waiting, dueAt, signalsSeen })) return { kind: 'released', dueAt }
      if (await kernel.pauseAsRequested(claim)) return { kind: 'released', dueAt: null }
      return stopped(options.clock.now()) // a stop came first, or the lease is lost: the completion tells
    }
    case 'pause': {
      const { pause } = interruption
      const paused = pause ? await kernel.pause(claim, pause) : await kernel.pauseAsRequested(claim)
      if (paused) return { kind: 'released', dueAt: null }
      // Where the request of it was withdrawn meanwhile, the run goes on from its recorded steps.
      const release = { lease: claim, waiting: 'LEASE', dueAt: null, signalsSeen: null } as const
      if (pause === null && (await kernel.release(release))) return { kind: 'released', dueAt: null }
      return stopped(options.clock.now()) // as above
    }
    case 'end': {
      const known = confirmed ? knownRun(claim, executor.totals, executor.violations) : null
      const outcome = await complete(options, control, executor, interruption.end, { known })
      return outcome.kind === 'stop_first' ? stopped(options.clock.now()) : outcome
    }
  }
}

async function complete(
  { completion }: RunnerOptions,
  { claim }: RunControl,
  executor: StepExecutor,
  end: RunEnd,
  ending: Partial<Pick<CompletionRequest, 'stop' | 'known'>>,
): Promise<CompletionOutcome> {
  const request = { lease: claim, end, stop: null, known: null, earlierAttempts: 0, ...ending }
  const { policiesSeen } = executor
  const first = { ...request, ...executor.budget, ...(policiesSeen !== undefined && { policiesSeen }) }
  const outcome = await createGovernanceRecordsForRun(completion, first)
  if (outcome.kind !== 'policies_first') return outcome
  await executor.catchUp()
  return createGovernanceRecordsForRun(completion, { ...request, ...executor.budget, known: null })
}
