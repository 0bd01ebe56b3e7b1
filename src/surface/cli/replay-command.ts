import { Option } from 'commander'
import { AppError } from '../../foundation/app-error.ts'
import type { Concordat } from '../../runtime.ts'
import { defineCommand, integer } from './command.ts'
import { COMMANDS } from './command-list.ts'
import type { ExitCode } from './errors.ts'
import { count, plural } from './format.ts'
import { onInterruption } from './interruption.ts'
import { toJson } from './json.ts'
import { showProgress } from './progress.ts'
import { skippedLines } from './replay-skipped.ts'
import { openFiles, type Submissions, submitLines, type TrajectoryFile } from './replay-submit.ts'
import { isSound, summaryLines, summaryOf, withSums } from './replay-summary.ts'
import { EndWatch, settle } from './replay-wait.ts'
import { type CommandContext, type CommonOptions, commandConfig } from './session.ts'

interface ReplayOptions extends CommonOptions {
  readonly concurrency?: number
  readonly limit?: number
}

type ReplayContext = CommandContext<ReplayOptions>

export const replayCommand = defineCommand<ReplayOptions>({
  ...COMMANDS.replay,
  options: [
    new Option('--concurrency <n>', 'runs at the same time; default WORKER_CONCURRENCY').argParser(integer(1, 10_000)),
    new Option('--limit <n>', 'lines at the most').argParser(integer(1, Number.MAX_SAFE_INTEGER)),
  ],
  run: async (context) => {
    const files = await openFiles(context.args)
    const { concurrency = commandConfig().workerConcurrency } = context.options
    const concordat = await context.open({ processKind: 'worker', config: { workerConcurrency: concurrency } })
    const interruption = onInterruption(context.terminal, 'Draining: no new lines, runs under way get their time.')
    try {
      return await replay(context, concordat, files, interruption.signal)
    } finally {
      await concordat.close()
      interruption.end()
    }
  },
})

/** Reads, submits, executes, reconciles; then counts what is in the database. */
async function replay(
  context: ReplayContext,
  concordat: Concordat,
  files: readonly TrajectoryFile[],
  signal: AbortSignal,
): Promise<ExitCode> {
  const { terminal, options } = context
  const { tenant = 'default', limit = Number.MAX_SAFE_INTEGER } = options
  const startedAt = performance.now()
  await refuseUnknown(concordat, tenant)
  await concordat.start()
  const watch = new EndWatch(concordat.database, tenant, terminal.err)
  const submissions: Submissions = {
    lines: 0,
    malformed: 0,
    refused: 0,
    duplicates: 0,
    submitted: 0,
    share: 0,
    runIds: new Set(),
  }
  const hideProgress = showProgress(terminal, () => progressOf(submissions, watch))
  try {
    const pace = { concurrency: concordat.config.workerConcurrency, limit, signal }
    const onSkipped = skippedLines(terminal, options.json)
    const onRun = (runId: string) => watch.add(runId)
    await Promise.all([
      submitLines(concordat, tenant, files, submissions, { ...pace, onRun, onSkipped }).finally(() => watch.close()),
      watch.untilEnded(signal),
    ])
    if (!signal.aborted) await settle(concordat, tenant, [...submissions.runIds], signal)
  } finally {
    hideProgress()
  }
  if (signal.aborted) return interrupted(context, concordat, submissions, watch)

  const summary = await summaryOf(concordat.database, tenant, submissions, (performance.now() - startedAt) / 1_000)
  if (options.json) terminal.out(toJson(withSums(summary)))
  else for (const line of summaryLines(terminal, summary)) terminal.out(line)
  return isSound(summary) ? 0 : 1
}

async function refuseUnknown({ tenants }: Concordat, tenant: string): Promise<void> {
  const known = await tenants.list()
  if (known.some(({ tenantId }) => tenantId === tenant)) return
  throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenant)}`)
}

function progressOf({ lines, malformed, refused, duplicates, runIds, share: read }: Submissions, { ended }: EndWatch) {
  const share = runIds.size === 0 ? 0 : (read * ended) / runIds.size
  const text = `${count(ended)} of ${count(lines - malformed - refused - duplicates)} runs${read < 1 ? ', reading' : ''}`
  return { share, done: ended, text }
}

/** Runs that had no time to end are released, or still queued: the next replay or any worker goes on with them. */
async function interrupted(
  { terminal }: ReplayContext,
  concordat: Concordat,
  { lines, runIds }: Submissions,
  watch: EndWatch,
): Promise<ExitCode> {
  await concordat.stop()
  await watch.look()
  const done = `${plural(lines, 'line')} read, ${plural(runIds.size, 'run')} submitted, ${count(watch.ended)} of them ended`
  terminal.err(`Interrupted: ${done}. The same command goes on where this one stopped.`)
  return 1
}
