import { type ListedTenant, TENANT_COUNT_MAX } from '../../domains/tenants/tenants.ts'
import { defineCommand } from './command.ts'
import { age, count } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

export const tenantsList = defineCommand({
  usage: 'list',
  description: 'all tenants, and what each has under way',
  run: async (context) => {
    const { terminal, options } = context
    const tenants = await withSession(context, (concordat) => concordat.tenants.list())
    if (options.json) terminal.out(toJson({ tenants }))
    else show(terminal, tenants)
    return 0
  },
})

function show(terminal: Terminal, tenants: readonly ListedTenant[]): void {
  const columns = [
    { head: 'TENANT', flexible: true },
    { head: 'STATUS' },
    { head: 'EXECUTING', align: 'right' },
    { head: 'WAITING', align: 'right' },
    { head: 'QUEUED', align: 'right' },
    { head: 'AT MOST', align: 'right', optional: true },
    { head: 'AGENTS', flexible: true, optional: true },
    { head: 'SUSPENDED', flexible: true, optional: true },
  ] as const
  const rows = tenants.map(
    ({ tenantId, status, executing, waiting, queued, maxRunning, allowedAgents, suspension }) => [
      printable(tenantId),
      terminal.style(status === 'active' ? 'green' : 'red', status),
      counted(executing),
      counted(waiting),
      counted(queued),
      maxRunning === null ? '' : count(maxRunning),
      printable(allowedAgents?.join(', ') ?? ''),
      suspension
        ? printable(`${age(Date.now() - Date.parse(suspension.at))} ago by ${suspension.by}: ${suspension.why}`)
        : '',
    ],
  )
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
}

function counted(runs: number): string {
  return runs >= TENANT_COUNT_MAX ? `${count(TENANT_COUNT_MAX)}+` : count(runs)
}
