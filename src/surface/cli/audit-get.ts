import type { AuditReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { requireNamedTenant } from './find-run.ts'
import { toJson } from './json.ts'
import { contractLines } from './run-view-contract.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

export const auditGet = defineCommand({
  usage: 'get <run>',
  description: 'what was expected of a run, what was acknowledged, what is late, missing or drifted',
  run: async (context) => {
    const { terminal, options, args } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      await requireNamedTenant(concordat, context)
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
  const isGone = report.status === 'gone'
  if (isGone) terminal.out(goneText(report))
  // Nothing is unexpected where nobody knows any more what was expected.
  const shown = isGone ? { ...report, acks: [] } : report
  for (const line of contractLines(terminal, shown)) terminal.out(line)
  for (const line of alertLines(terminal, report)) terminal.out(line)
}

/** What such a run had expected, and how it ended, went with its row. */
function goneText({ acks }: AuditReport): string {
  const actions = [...Map.groupBy(acks, ({ domain, action, status }) => `${domain}/${action} ${status}`)]
  const left = actions.map(([what, own]) => (own.length > 1 ? `${what} (${own.length} times)` : what)).join(', ')
  return `Its row is deleted. Acks that are left: ${left === '' ? 'none' : left}\n`
}

function alertLines(terminal: Terminal, { alerts }: AuditReport): string[] {
  if (alerts.length === 0) return []
  const columns = [{ head: 'ALERT' }, { head: 'TYPE' }, { head: 'STATE' }, { head: 'MESSAGE', flexible: true }] as const
  const rows = alerts.map(({ alertId, type, state, message }) => [alertId, type, state, printable(message, 500)])
  return ['', ...tableLines(terminal, columns, rows)]
}
