import { Option } from 'commander'
import type { AlertFilter, StoredAlert } from '../../domains/alerts/alerts.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { defineCommand, integer } from './command.ts'
import { age } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { silenceText } from './silence-text.ts'
import { tableLines } from './table.ts'
import { printable, type Style, type Terminal } from './terminal.ts'

const STATES = ['open', 'firing', 'acknowledged', 'resolved', 'all'] as const satisfies readonly AlertFilter['state'][]

export const alertsList = defineCommand<{ state: AlertFilter['state']; limit: number }>({
  usage: 'list',
  description: 'alerts, the latest first, and silences; of every tenant unless one is named',
  options: [
    new Option('--state <state>', 'open: firing or acknowledged').choices(STATES).default('open'),
    new Option('--limit <n>', 'how many at most').argParser(integer(1, 1_000)).default(100),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { state, limit, tenant = null, json } = options
    const { alerts, silences } = await withSession(context, async (concordat) => {
      if (tenant !== null) await requireTenant(concordat.database, tenant)
      return {
        alerts: await concordat.alerts.list({ state, limit, tenantId: tenant }),
        silences: await concordat.alerts.silences(options.tenant),
      }
    })
    if (json) terminal.out(toJson({ alerts, silences }))
    else {
      show(terminal, alerts, state)
      for (const silence of silences) terminal.out(terminal.style('yellow', `  ${silenceText(silence)}`))
    }
    return 0
  },
})

const SEVERITY_STYLES: { readonly [severity: string]: Style } = { warning: 'yellow', error: 'red', critical: 'magenta' }
const STATE_STYLES: { readonly [state: string]: Style } = { firing: 'red', acknowledged: 'yellow', resolved: 'green' }

const MESSAGE_CHARS_MAX = 200
/** Of a line that has room for a message beside the rest; else it has a line of its own. */
const WIDE_CHARS = 180

function show(terminal: Terminal, alerts: readonly StoredAlert[], state: AlertFilter['state']): void {
  if (alerts.length === 0) {
    terminal.out(state === 'open' ? 'No alert is open.' : 'There is no such alert.')
    return
  }
  const isWide = terminal.columns >= WIDE_CHARS
  const columns = [
    { head: 'ALERT' },
    { head: 'SEVERITY' },
    { head: 'STATE' },
    { head: 'TYPE' },
    { head: 'TENANT', optional: true },
    { head: 'RUN' },
    { head: 'AGE', align: 'right' },
    ...(isWide ? [{ head: 'MESSAGE', flexible: true } as const] : []),
  ] as const
  const now = Date.now()
  const rows = alerts.map((alert) => {
    return [
      alert.alertId,
      terminal.style(SEVERITY_STYLES[alert.severity] ?? 'dim', alert.severity),
      terminal.style(STATE_STYLES[alert.state] ?? 'dim', alert.state),
      alert.type,
      alert.tenantId,
      alert.runId,
      age(now - alert.raisedAt.getTime()),
      ...(isWide ? [printable(alert.message, MESSAGE_CHARS_MAX)] : []),
    ]
  })
  const [head = '', ...lines] = tableLines(terminal, columns, rows)
  terminal.out(head)
  for (const [i, line] of lines.entries()) {
    terminal.out(line)
    if (!isWide) terminal.out(`    ${terminal.style('dim', printable(alerts[i]?.message ?? '', MESSAGE_CHARS_MAX))}`)
  }
}
