import { Option } from 'commander'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

export const runsStop = defineCommand<{ why?: string; by?: string }>({
  usage: 'stop <run>',
  description: 'stop a run: at once where nobody executes it, else its worker aborts the step in flight',
  options: [
    new Option('--why <reason>', 'kept with the run'),
    new Option('--by <name>', 'who asks for it; kept with the run'),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { json, why, by } = options
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { runId, tenantId } = await namedRun(concordat, context)
      const result = await concordat.runs.stop(tenantId, runId, { ...(why && { why }), ...(by && { by }) })
      if (json) terminal.out(toJson({ runId, tenantId, result }))
      else
        terminal.out(
          result === 'cancelled' ? `Run ${runId} is cancelled.` : `The worker of run ${runId} was told to stop it.`,
        )
      return 0
    })
  },
})
