import type { Concordat } from '../../runtime.ts'
import type { RunReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { runLines } from './run-view.ts'
import { withSession } from './session.ts'
import { whyUnclaimed } from './workers.ts'

export const runsGet = defineCommand({
  usage: 'get <run>',
  description: 'everything that is known of a run: phases, steps, footprint, contract, events',
  run: async (context) => {
    const { terminal, options } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { tenantId, runId } = await namedRun(concordat, context)
      const report = await concordat.runs.get(tenantId, runId)
      if (options.json) terminal.out(toJson(report))
      else {
        const unclaimedBecause = await reasonNobodyTakes(concordat, report)
        for (const line of runLines(terminal, { report, now: new Date(), unclaimedBecause })) terminal.out(line)
      }
      return 0
    })
  },
})

async function reasonNobodyTakes({ database }: Concordat, report: RunReport): Promise<string | null> {
  const { status, waiting, workerId, pending } = report
  const waits = workerId === null && pending === null && (status === 'queued' || waiting !== null)
  return waits ? whyUnclaimed(database, report) : null
}
