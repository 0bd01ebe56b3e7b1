import { Option } from 'commander'
import { type ActingOptions, actingOf, actingOptions } from './acting.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { whyUnclaimed } from './workers.ts'

export const runsResume = defineCommand<ActingOptions & { note?: string }>({
  usage: 'resume <run>',
  description: 'resume a paused run, once; who may depends on why it is paused',
  options: [new Option('--note <text>', 'why it may go on; kept with the run'), ...actingOptions()],
  run: async (context) => {
    const { terminal, options } = context
    const { json, note } = options
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const run = await namedRun(concordat, context)
      const { runId, tenantId } = run
      const result = await concordat.runs.resume(tenantId, runId, { ...actingOf(options), ...(note && { note }) })
      if (json) terminal.out(toJson({ runId, tenantId, result }))
      else if (result === 'withdrawn') terminal.out(`Run ${runId} does not pause: that had only been asked for.`)
      else {
        terminal.out(`Run ${runId} is resumed and goes on as soon as a worker is free.`)
        const unclaimedBecause = await whyUnclaimed(concordat.database, run)
        if (unclaimedBecause !== null)
          terminal.out(terminal.style('yellow', `  no worker takes it: ${unclaimedBecause}`))
      }
      return 0
    })
  },
})
