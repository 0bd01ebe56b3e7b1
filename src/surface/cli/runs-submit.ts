import { Option } from 'commander'
import { isTerminal } from '../../domains/runs/runs.ts'
import type { SubmitRequest } from '../../flow/intake/intake.ts'
import { AppError, serializeError, toAppError } from '../../foundation/app-error.ts'
import type { Subscription } from '../../foundation/bus/bus.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { Json } from '../../foundation/json.ts'
import type { Concordat } from '../../runtime.ts'
import type { RunHandle } from '../library/library.ts'
import { defineCommand, instant, integer } from './command.ts'
import { type ExitCode, reportError } from './errors.ts'
import { onInterruption } from './interruption.ts'
import { toJson } from './json.ts'
import { jsonFile, jsonOption } from './read-json.ts'
import { type CommandContext, type CommonOptions, withSession } from './session.ts'
import { printable, type Terminal } from './terminal.ts'
import { liveWorkers } from './workers.ts'

interface SubmitOptions {
  readonly agent?: string
  readonly version?: string
  readonly plan?: string
  readonly input?: string
  readonly key?: string
  readonly priority?: number
  readonly at?: Date
  readonly metadata?: string
  readonly apiKey?: string
  readonly wait?: true
}

type SubmitContext = CommandContext<SubmitOptions & CommonOptions>

export const runsSubmit = defineCommand<SubmitOptions>({
  usage: 'submit',
  description: 'submit a run of an agent, or of a plan in a file',
  options: [
    new Option('--agent <name>', 'the agent'),
    new Option('--version <version>', 'of the agent; default the newest that is configured'),
    new Option(
      '--plan <file>',
      'instead of an agent: a plan of skills, JSON { steps: [{ skill, params, name? }] }',
    ).conflicts(['agent', 'version']),
    new Option('--input <json>', 'what the agent gets: JSON, @file, or - for standard input'),
    new Option('--key <key>', 'idempotency key: the same request under it is the same run'),
    new Option('--priority <n>', '-100 to 100; higher runs first').argParser(integer(-100, 100)),
    new Option('--at <time>', 'not before this time, ISO 8601').argParser(instant),
    new Option('--metadata <json>', 'kept with the run: JSON, or @file'),
    new Option('--api-key <id>', 'the API key whose limits it counts in'),
    new Option('--wait', 'wait for the end and print the output; executes it here on the embedded database'),
  ],
  run: async (context) => {
    const request = await requestOf(context)
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const run = await concordat.runs.submit(request)
      if (run.denial) {
        showSubmitted(context, run)
        throw new AppError(run.denial.code, `run ${run.runId} was refused: ${run.denial.reason}`, {
          details: { runId: run.runId, tenantId: run.tenantId },
        })
      }
      if (context.options.wait) return waitFor(context, concordat, run)
      showSubmitted(context, run)
      if (!context.options.json) await sayWhoExecutes(context, concordat)
      return 0
    })
  },
})

async function requestOf({ options }: SubmitContext): Promise<SubmitRequest> {
  const { tenant = 'default', agent, version, plan, key, priority, at, metadata, apiKey } = options
  if (agent === undefined && plan === undefined) {
    throw new AppError('INVALID_REQUEST', 'which agent? --agent NAME, or --plan FILE for a plan without an agent')
  }
  const input = options.input === undefined ? null : await jsonOption('--input', options.input)
  return {
    tenant,
    agent: agent ?? 'plan',
    version,
    input: plan === undefined ? input : { plan: await jsonFile('--plan', plan), input },
    idempotencyKey: key,
    priority,
    runAt: at,
    apiKeyId: apiKey,
    ...(metadata !== undefined && { metadata: await jsonOption('--metadata', metadata) }),
  }
}

function showSubmitted(
  { terminal, options }: SubmitContext,
  { runId, tenantId, deduplicated, denial }: RunHandle,
): void {
  if (options.json) terminal.out(toJson({ runId, tenantId, deduplicated, denial }))
  else terminal.out(runId)
}

/** A queued run that nobody will take looks the same as one that is taken in a moment: it is told. */
async function sayWhoExecutes({ terminal }: SubmitContext, { database }: Concordat): Promise<void> {
  if ((await liveWorkers(database)).length > 0) return
  terminal.err(
    terminal.styleErr(
      'dim',
      'It waits: no worker is alive. `concordat worker` executes it; so does --wait on the embedded database.',
    ),
  )
}

/** On the embedded database nobody else can execute it, so this process does, for as long as it waits. */
async function waitFor(context: SubmitContext, concordat: Concordat, run: RunHandle): Promise<ExitCode> {
  const { terminal } = context
  const interruption = onInterruption(terminal, whenInterrupted(concordat))
  const interrupted = new Promise<'interrupted'>((resolve) => {
    interruption.signal.addEventListener('abort', () => resolve('interrupted'), { once: true })
  })
  let subscription: Subscription | undefined
  try {
    if (concordat.database.kind === 'embedded') await concordat.start()
    else if ((await liveWorkers(concordat.database)).length === 0) {
      terminal.err(`Run ${run.runId} waits: no worker is alive on this database. Start one with \`concordat worker\`.`)
    }
    subscription = await concordat.bus.subscribe((event) => {
      if (event.type === 'run.paused' && event.runId === run.runId && !context.options.json) sayPaused(terminal, event)
    })
    const ended = run.result().then(
      (output) => ({ output }),
      (error: unknown) => ({ error }),
    )
    if ((await Promise.race([ended, interrupted])) === 'interrupted') {
      await concordat.stop() // the run may end in the time that it gets
      const { phase } = await concordat.runs.get(run.tenantId, run.runId)
      if (!isTerminal(phase)) return await showOpen(context, concordat, run, interruption.exitCode)
    }
    return await showEnd(context, concordat, run, await ended)
  } finally {
    await subscription?.close()
    interruption.end()
  }
}

/** Whoever waits is told that nothing goes on before somebody acts, and with which command. */
function sayPaused(terminal: Terminal, { runId, data }: EventEnvelope): void {
  const { reason, message } = data as { readonly reason: string; readonly message: string }
  const next = reason === 'APPROVAL_REQUIRED' ? 'concordat approvals list' : `concordat runs resume ${runId}`
  terminal.err(`Run ${runId} is paused: ${reason}, ${printable(message, 500)}`)
  terminal.err(`  ${terminal.styleErr('dim', 'next')}  ${next}`)
}

function whenInterrupted({ database, config }: Concordat): string {
  if (database.kind !== 'embedded') return 'No longer waiting; the run goes on where a worker has it.'
  const seconds = config.drainTimeoutMs / 1_000
  return `Draining: the run is executed here, and gets ${seconds} s (DRAIN_TIMEOUT_SECONDS) to end.`
}

/** It has not ended, and this process does not wait for that any more. */
async function showOpen(
  { terminal, options }: SubmitContext,
  { runs, database }: Concordat,
  { runId, tenantId, deduplicated }: RunHandle,
  exitCode: ExitCode,
): Promise<ExitCode> {
  if (options.json) {
    const { status, phase, reason, output } = await runs.get(tenantId, runId)
    terminal.out(toJson({ runId, tenantId, deduplicated, status, phase, reason, output, error: null }))
    return exitCode
  }
  const next = database.kind === 'embedded' ? '; it goes on with the next `concordat worker` in this folder' : ''
  terminal.err(`Run ${runId} has not ended${next}. See it with: concordat runs get ${runId}`)
  return exitCode
}

async function showEnd(
  { terminal, options }: SubmitContext,
  { runs }: Concordat,
  { runId, tenantId, deduplicated }: RunHandle,
  result: { readonly output: Json } | { readonly error: unknown },
): Promise<ExitCode> {
  if (options.json) {
    const { status, phase, reason, output } = await runs.get(tenantId, runId)
    const error = 'error' in result ? serializeError(result.error) : null
    terminal.out(toJson({ runId, tenantId, deduplicated, status, phase, reason, output, error }))
  } else if ('output' in result) terminal.out(toJson(result.output))
  if ('output' in result) return 0
  if (!options.json) {
    reportError(terminal, runError(result.error), false, `concordat runs get ${runId}`)
  }
  return 1
}

/** An error that is not ours is the agent's own, as the run's reason has it. */
function runError(error: unknown): AppError {
  if (error instanceof AppError) return error
  return new AppError('AGENT_FAILED', toAppError(error).message, { cause: error })
}
