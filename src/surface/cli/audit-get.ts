import type { AuditReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { toJson } from './json.ts'
import { contractLines } from './run-view-contract.ts'
import { withSession } from './session.ts'
import type { Terminal } from './terminal.ts'

export const auditGet = defineCommand({
  usage: 'get <run>',
  description: 'what was expected of a run, what was acknowledged, what is late, missing or drifted',
  run: async (context) => {
    const { terminal, options, args } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const report = await concordat.audit.get(options.tenant ?? null, (args[0] ?? '').toLowerCase())
      if (options.json) terminal.out(toJson(report))
      else show(terminal, report)
      return 0
    })
  },
})

function show(terminal: Terminal, report: AuditReport): void {
  terminal.out(`${terminal.style('bold', `run ${report.runId}`)}  ${report.status}`)
  terminal.out('')
  // What such a run had expected is gone with it.
  const shown = report.status === 'gone' ? { ...report, acks: [] } : report
  for (const line of contractLines(terminal, shown)) terminal.out(line)
}
