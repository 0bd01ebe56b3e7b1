import { Option } from 'commander'
import { AppError } from '../../foundation/app-error.ts'
import { type Concordat } from '../../runtime.ts'
import { countFootprints } from '../footprint/footprint.ts'
import { defineCommand, integer } from './command.ts'
import type { ExitCode } from './errors.ts'
import { count, plural } from './format.ts'
import { onInterruption } from './interruption.ts'
import { toJson } from './json.ts'
import { type Progress, startProgress } from './progress.ts'
import { openTrajectories, submitTrajectories, type Submissions, type TrajectoryFiles } from './replay-submit.ts'
import { type ReplaySummary, summaryLines, summaryOf } from './replay-summary.ts'
import { settleRuns, untilEnded } from './replay-wait.ts'
import { commandConfig, type CommandContext, type CommonOptions, openSession } from './session.ts'

interface ReplayOptions extends CommonOptions {
  readonly concurrency?: number
  readonly limit?: number
}

type ReplayContext = CommandContext<ReplayOptions>

export const replayCommand = defineCommand<ReplayOptions>({
  usage: 'replay <file...>',
  description: 'run recorded trajectories (.jsonl, .jsonl.gz), one run a line; again: only what is missing',
  options: [
    new Option('--concurrency <n>', 'runs at the same time; default WORKER_CONCURRENCY').argParser(integer(1, 10_000)),
    new Option('--limit <n>', 'lines at the most').argParser(integer(1, Number.MAX_SAFE_INTEGER)),
  ],
  run: async (context) => {
    const files = await openTrajectories(context.args)
    const { concurrency = commandConfig().workerConcurrency } = context.options
    // Log lines go above the bar, which comes later.
    let say = context.terminal.err
    const concordat = await openSession(context, {
      processKind: 'worker',
      config: { workerConcurrency: concurrency },
      logTo: { write: (line) => say(line.trimEnd()) },
    })
    try {
      const replay = new Replay(context, concordat, files)
      return await replay.run((to) => {
        say = to
      })
    } finally {
      await concordat.close()
    }
  },
})
