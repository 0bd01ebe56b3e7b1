import { Option } from 'commander'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { AppError } from '../../foundation/app-error.ts'
import { meansNothing, typeMatcher } from '../../foundation/events/events.ts'
import { defineCommand } from './command.ts'
import { eventLine } from './event-line.ts'
import { onInterruption } from './interruption.ts'
import { toJsonLine } from './json.ts'
import { withSession } from './session.ts'
import { tailEvents } from './tail-events.ts'

export const eventsTail = defineCommand<{ type?: string; sinceStart?: true }>({
  usage: 'tail',
  description: 'follow events as they are published',
  options: [
    new Option('--type <type>', 'only this type, or a prefix as in audit.*'),
    new Option('--since-start', 'from the first event that is kept on'),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { type, tenant, sinceStart = false, json } = options
    const nothing = meansNothing(type ?? '*')
    if (nothing !== null) throw new AppError('INVALID_REQUEST', nothing)
    const matches = typeMatcher(type ?? '*')
    const interruption = onInterruption(terminal, 'Stopped.')
    try {
      await withSession(context, async (concordat) => {
        if (tenant !== undefined) await requireTenant(concordat.database, tenant)
        await tailEvents(concordat, terminal, {
          signal: interruption.signal,
          sinceStart,
          asJson: json === true,
          wants: (event) => matches(event.type) && (tenant === undefined || event.tenantId === tenant),
          show: (event) => terminal.out(json ? toJsonLine(event) : eventLine(terminal, event, false)),
        })
      })
    } finally {
      interruption.end()
    }
    return 0
  },
})
