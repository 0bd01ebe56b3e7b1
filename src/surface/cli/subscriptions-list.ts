import type { ListedSubscription } from '../../domains/deliveries/deliveries.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { defineCommand } from './command.ts'
import { age } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

const NOTE_CHARS_MAX = 200

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

function show(terminal: Terminal, subscriptions: readonly ListedSubscription[]): void {
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
  ] as const
  const now = Date.now()
  const rows = subscriptions.map(({ subscriptionId, tenantId, state, types, url, createdAt }) => {
    const styled = terminal.style(state === 'enabled' ? 'green' : 'yellow', state)
    return [subscriptionId, tenantId, styled, types.join(', '), printable(url, 200), age(now - createdAt.getTime())]
  })
  const [head = '', ...lines] = tableLines(terminal, columns, rows)
  terminal.out(head)
  for (const [i, line] of lines.entries()) {
    terminal.out(line)
    const note = noteOf(subscriptions[i], now)
    if (note !== null) terminal.out(`    ${terminal.style('yellow', printable(note, NOTE_CHARS_MAX))}`)
  }
}

/** What is wrong with it. */
function noteOf(subscription: ListedSubscription | undefined, now: number): string | null {
  if (!subscription) return null
  const { disabledBecause, failingSince, lastError } = subscription
  if (disabledBecause !== null || failingSince === null) return disabledBecause
  const failing = `failing for ${age(now - failingSince.getTime())}`
  return lastError === null ? failing : `${failing}: ${lastError}`
}
