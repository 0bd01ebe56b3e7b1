import { Option } from 'commander'
import { PauseReason } from '../../domains/pauses/pauses.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Concordat } from '../../runtime.ts'
import type { ResumeAllResult } from '../library/library.ts'
import { type ActingOptions, actingOf, actingOptions } from './acting.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { count } from './format.ts'
import { toJson } from './json.ts'
import { type CommandContext, type CommonOptions, withSession } from './session.ts'
import { whyUnclaimed } from './workers.ts'

interface ResumeOptions extends CommonOptions, ActingOptions {
  readonly note?: string
  readonly agent?: string
  readonly reason?: PauseReason
  readonly all?: true
}

export const runsResume = defineCommand<ResumeOptions>({
  usage: 'resume [run]',
  description: 'resume a paused run, or many, once; who may depends on why it is paused',
  options: [
    new Option('--agent <name>', 'all paused runs of this agent of the tenant'),
    new Option('--reason <reason>', 'all runs of the tenant that are paused for this').choices(
      Object.values(PauseReason),
    ),
    new Option('--all', 'all paused runs of the tenant'),
    new Option('--note <text>', 'why it may go on; kept with the run'),
    ...actingOptions(),
  ],
  run: async (context) => {
    const { args, options } = context
    const many = options.all || options.agent !== undefined || options.reason !== undefined
    if (many === args.length > 0) throw unclear(many)
    return withSession(context, (concordat) => (many ? resumeMany(concordat, context) : resumeOne(concordat, context)))
  },
})

/** Nothing is resumed that nobody has named. */
function unclear(many: boolean): AppError {
  const hint = 'Name a run, or say --agent NAME, --reason REASON, or --all for all paused runs of the tenant.'
  const message = many ? 'name a run, or say which ones, not both' : 'nothing says which runs to resume'
  return new AppError('INVALID_REQUEST', message, { hint })
}

async function resumeOne(concordat: Concordat, context: CommandContext<ResumeOptions>): Promise<ExitCode> {
  const { terminal, options } = context
  const run = await namedRun(concordat, context)
  const { runId, tenantId } = run
  const result = await concordat.runs.resume(tenantId, runId, resumption(options))
  if (options.json) terminal.out(toJson({ runId, tenantId, result }))
  else if (result === 'withdrawn') terminal.out(`Run ${runId} does not pause: that had only been asked for.`)
  else {
    terminal.out(`Run ${runId} is resumed and goes on as soon as a worker is free.`)
    const unclaimedBecause = await whyUnclaimed(concordat.database, run)
    if (unclaimedBecause !== null) terminal.out(terminal.style('yellow', `  no worker takes it: ${unclaimedBecause}`))
  }
  return 0
}

async function resumeMany(concordat: Concordat, context: CommandContext<ResumeOptions>): Promise<ExitCode> {
  const { terminal, options } = context
  const { tenant = 'default', json, agent, reason } = options
  const scope = { tenant, ...(agent !== undefined && { agent }), ...(reason !== undefined && { reason }) }
  const result = await concordat.runs.resumeAll({ ...scope, ...resumption(options) })
  if (json) terminal.out(toJson({ tenant, agent: agent ?? null, reason: reason ?? null, ...result }))
  else terminal.out(resumedText(result, options.as))
  return result.forbidden > 0 ? 1 : 0
}

function resumption(options: ResumeOptions) {
  return { ...actingOf(options), ...(options.note && { note: options.note }) }
}

function resumedText({ resumed, forbidden, undecided }: ResumeAllResult, as: string): string {
  const runs = (number: number) => `${count(number)} ${number === 1 ? 'run' : 'runs'}`
  return [
    `${runs(resumed)} resumed.`,
    forbidden > 0 && `${runs(forbidden)} not resumed: ${as} may not, and each attempt is kept.`,
    undecided > 0 && `${runs(undecided)} not resumed: approvals are to be decided (concordat approvals list).`,
  ]
    .filter(Boolean)
    .join('\n')
}
