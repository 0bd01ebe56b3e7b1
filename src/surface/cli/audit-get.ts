import type { AuditReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { contractLines } from './run-view-contract.ts'
import { withSession } from './session.ts'
import type { Terminal } from './terminal.ts'

export const auditGet = defineCommand({
  usage: 'get <run>',
  description: 'what was expected of a run, what was acknowledged, what is late, missing or drifted',
  run: async (context) => {
    const { terminal, options } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { tenantId, runId } = await namedRun(concordat, context)
      const report = await concordat.audit.get(tenantId, runId)
      if (options.json) terminal.out(toJson(report))
      else show(terminal, report)
      return 0
    })
  },
})

function show(terminal: Terminal, report: AuditReport): void {
  terminal.out(`${terminal.style('bold', `run ${report.runId}`)}  ${report.status}`)
  terminal.out('')
  for (const line of contractLines(terminal, report)) terminal.out(line)
}
