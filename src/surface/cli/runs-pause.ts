import { Option } from 'commander'
import { type ActingOptions, actingOf, actingOptions } from './acting.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

export const runsPause = defineCommand<ActingOptions & { why?: string }>({
  usage: 'pause <run>',
  description: 'pause a run before its next step: at once where nobody executes it',
  options: [new Option('--why <reason>', 'kept with the run'), ...actingOptions()],
  run: async (context) => {
    const { terminal, options } = context
    const { json, why } = options
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { runId, tenantId, status } = await namedRun(concordat, context)
      const result = await concordat.runs.pause(tenantId, runId, { ...actingOf(options), ...(why && { why }) })
      const requested =
        status === 'queued'
          ? 'pauses when a worker claims it, before its first step'
          : 'pauses after the step under way'
      if (json) terminal.out(toJson({ runId, tenantId, result }))
      else {
        terminal.out(`Run ${runId} ${result === 'paused' ? 'is paused' : requested}.`)
        terminal.out(terminal.style('dim', `  resume it: concordat runs resume ${runId}`))
      }
      return 0
    })
  },
})
