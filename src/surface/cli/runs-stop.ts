import { Option } from 'commander'
import type { RunStop } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { sleep } from '../../foundation/backoff.ts'
import type { Concordat } from '../../runtime.ts'
import type { StopInput } from '../library/library.ts'
import { type ActingOptions, actingOf, actingOptions } from './acting.ts'
import { defineCommand, integer } from './command.ts'
import type { ExitCode } from './errors.ts'
import { runNamed } from './find-run.ts'
import { duration } from './format.ts'
import { toJson } from './json.ts'
import { type CommandContext, type CommonOptions, withSession } from './session.ts'
import { stoppedText } from './stopped-text.ts'
import { printable } from './terminal.ts'

const WAIT_SECONDS = 10
const WAIT_SECONDS_MAX = 600
const POLL_MS = 50

/** Options of whatever stops runs. */
export const stopOptions = [
  new Option('--why <reason>', 'kept with each run'),
  ...actingOptions(),
  new Option('--wait <seconds>', 'how long to wait until steps have ended')
    .argParser(integer(0, WAIT_SECONDS_MAX))
    .default(WAIT_SECONDS),
]

export interface StopOptions extends CommonOptions, ActingOptions {
  readonly why?: string
  readonly wait: number
}

interface RunsStopOptions extends StopOptions {
  readonly agent?: string
  readonly policy?: string
  readonly all?: true
}

export const runsStop = defineCommand<RunsStopOptions>({
  usage: 'stop [runs...]',
  description: 'stop runs: at once where nobody executes them, else their workers abort the step in flight',
  options: [
    new Option('--agent <name>', 'all runs of this agent of the tenant'),
    new Option('--policy <name>', 'all runs of the tenant that this policy is in scope for'),
    new Option('--all', 'all runs of the tenant'),
    ...stopOptions,
  ],
  run: async (context) => {
    refuseUnclear(context)
    return withSession(context, (concordat) => {
      return context.args.length > 0 ? stopNamed(concordat, context) : stopMany(concordat, context)
    })
  },
})

/** Nothing is stopped that nobody has named: all of a tenant's runs only where that is said. */
function refuseUnclear({ args, options: { agent, policy, all } }: CommandContext<RunsStopOptions>): void {
  const scopes = [agent, policy, all].filter((scope) => scope !== undefined).length
  if (scopes + (args.length > 0 ? 1 : 0) === 1) return
  throw new AppError(
    'INVALID_REQUEST',
    scopes === 0 ? 'nothing says which runs to stop' : 'name runs, or one of --agent, --policy and --all',
    { hint: 'Name runs, or say --agent NAME, --policy NAME, or --all for all runs of the tenant.' },
  )
}

async function stopMany(
  concordat: Concordat,
  { terminal, options }: CommandContext<RunsStopOptions>,
): Promise<ExitCode> {
  const { tenant = 'default', json, agent, policy, wait } = options
  const result = await concordat.runs.stopAll({
    tenant,
    ...(agent !== undefined && { agent }),
    ...(policy !== undefined && { policy }),
    ...noteOf(options),
    waitMs: wait * 1_000,
  })
  if (json) terminal.out(toJson({ tenant, agent: agent ?? null, policy: policy ?? null, ...result }))
  else terminal.out(stoppedText(result))
  return 0
}

async function stopNamed(
  concordat: Concordat,
  { terminal, options, args }: CommandContext<RunsStopOptions>,
): Promise<ExitCode> {
  const { json, tenant, wait } = options
  const reports: StopReport[] = []
  const errors: unknown[] = []
  const stop = async (id: string) => {
    const run = await runNamed(concordat, id, tenant)
    await concordat.runs.stop(run.tenantId, run.runId, noteOf(options))
    return untilOver(concordat, run, wait * 1_000)
  }
  for (const settled of await Promise.allSettled(args.map(stop))) {
    if (settled.status === 'rejected') errors.push(settled.reason)
    else reports.push(settled.value)
  }
  if (args.length === 1 && errors.length > 0) throw errors[0]
  if (json) terminal.out(toJson(args.length === 1 ? reports[0] : { runs: reports, errors: errors.map(messageOf) }))
  else for (const report of reports) terminal.out(reportText(report))
  if (!json) for (const error of errors) terminal.err(printable(messageOf(error)))
  return errors.length > 0 ? 1 : 0
}

interface StopReport {
  readonly runId: string
  readonly tenantId: string
  /** `cancelled`: it is over. `requested`: its worker was told. */
  readonly result: 'cancelled' | 'requested'
  readonly stop: RunStop | null
}

async function untilOver(
  concordat: Concordat,
  { tenantId, runId }: { tenantId: string; runId: string },
  waitMs: number,
): Promise<StopReport> {
  const giveUpAt = performance.now() + waitMs
  for (;;) {
    const { stop, endedAt } = await concordat.runs.get(tenantId, runId)
    if (endedAt !== null) return { runId, tenantId, result: 'cancelled', stop }
    if (performance.now() > giveUpAt) return { runId, tenantId, result: 'requested', stop }
    await sleep(POLL_MS)
  }
}

function reportText({ runId, result, stop }: StopReport): string {
  const after = (at: string) => duration(Date.parse(at) - Date.parse(stop?.requestedAt ?? at))
  const delivered = stop?.deliveredAt
  if (result === 'requested') {
    return `Run ${runId} is still stopping: its worker ${delivered ? `was told after ${after(delivered)}` : 'has not answered yet'}.`
  }
  if (!delivered) return `Run ${runId} is cancelled.`
  const { confirmedAt } = stop
  const confirmed = confirmedAt ? `confirmed after ${after(confirmedAt)}` : 'unconfirmed: a step ignored its signal'
  return `Run ${runId} is cancelled: delivered after ${after(delivered)}, ${confirmed}.`
}

export function noteOf({ why, ...acting }: ActingOptions & Pick<StopOptions, 'why'>): StopInput {
  return { ...actingOf(acting), ...(why !== undefined && { why }) }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
