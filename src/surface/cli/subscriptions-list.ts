import type { Subscription } from '../../domains/deliveries/deliveries.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { defineCommand } from './command.ts'
import { age } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

export const subscriptionsList = defineCommand({
  usage: 'list',
  description: 'subscriptions, of every tenant unless one is named',
  run: async (context) => {
    const { terminal, options } = context
    const subscriptions = await withSession(context, async (concordat) => {
      if (options.tenant !== undefined) await requireTenant(concordat.database, options.tenant)
      return concordat.subscriptions.list(options.tenant)
    })
    if (options.json) terminal.out(toJson({ subscriptions }))
    else show(terminal, subscriptions)
    return 0
  },
})

function show(terminal: Terminal, subscriptions: readonly Subscription[]): void {
  if (subscriptions.length === 0) {
    terminal.out('There is no subscription: concordat subscriptions create --url URL')
    return
  }
  const columns = [
    { head: 'SUBSCRIPTION' },
    { head: 'TENANT', optional: true },
    { head: 'STATE' },
    { head: 'TYPES', flexible: true },
    { head: 'URL', flexible: true },
    { head: 'AGE', align: 'right', optional: true },
    { head: '', flexible: true, optional: true },
  ] as const
  const now = Date.now()
  const rows = subscriptions.map(({ subscriptionId, tenantId, state, types, url, createdAt, ...rest }) => {
    const styled = terminal.style(state === 'enabled' ? 'green' : 'yellow', state)
    const failing = rest.failingSince ? `failing for ${age(now - rest.failingSince.getTime())}` : ''
    const note = rest.disabledBecause ?? failing
    const since = age(now - createdAt.getTime())
    return [subscriptionId, tenantId, styled, types.join(', '), printable(url, 200), since, printable(note, 200)]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
}
