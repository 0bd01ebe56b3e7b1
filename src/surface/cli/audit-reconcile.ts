import { findRun } from '../../domains/runs/runs.ts'
import type { Concordat } from '../../runtime.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { requireNamedTenant } from './find-run.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { styledOutcome } from './status-style.ts'
import { tableLines } from './table.ts'

export const auditReconcile = defineCommand({
  usage: 'reconcile <run>',
  description: 'hold a run against its contract now, and keep the result; exit code 1 unless COMPLETE',
  run: async (context) => {
    const { terminal, options } = context
    const reconcile = async (concordat: Concordat): Promise<ExitCode> => {
      await requireNamedTenant(concordat, context)
      const name = context.args[0]?.toLowerCase() ?? ''
      const { tenantId, runId, result, findings, at } = await concordat.audit.reconcile(options.tenant ?? null, name)
      const status = (await findRun(concordat.database, tenantId, runId))?.status ?? 'gone'
      if (options.json) terminal.out(toJson({ runId, tenantId, status, result, findings, at }))
      else {
        terminal.out(`${terminal.style('bold', `run ${runId}`)}  ${status}  ${styledOutcome(terminal, result)}`)
        const columns = [{ head: 'FINDING' }, { head: 'ACTION' }, { head: 'DETAIL', flexible: true }] as const
        const rows = findings.map(({ kind, domain, action, detail }) => [kind, `${domain}/${action}`, detail])
        if (rows.length > 0) for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
      }
      return result === 'COMPLETE' ? 0 : 1
    }
    return withSession(context, reconcile, { logLevel: 'silent' }) // a failure is the command's own answer
  },
})
