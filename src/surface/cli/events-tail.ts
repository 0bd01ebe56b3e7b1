import { Option } from 'commander'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { AppError } from '../../foundation/app-error.ts'
import { meansNothing, typeMatcher } from '../../foundation/events/events.ts'
import { limits } from '../../limits.ts'
import { defineCommand, instant, integer } from './command.ts'
import { eventLine } from './event-line.ts'
import { onInterruption } from './interruption.ts'
import { toJsonLine } from './json.ts'
import { withSession } from './session.ts'
import { type TailStart, tailEvents } from './tail-events.ts'

interface EventsTailOptions {
  readonly type?: string
  readonly sinceStart?: true
  readonly since?: Date
  readonly from?: number
  readonly partition?: number
}

export const eventsTail = defineCommand<EventsTailOptions>({
  usage: 'tail',
  description: 'follow events as they are published',
  options: [
    new Option('--type <type>', 'only this type, or a prefix as in audit.*'),
    new Option('--since-start', 'from the first event that is kept on'),
    new Option('--since <time>', 'first those that were published at this time or later').argParser(instant),
    new Option('--from <position>', 'first those from this position on').argParser(integer(1, Number.MAX_SAFE_INTEGER)),
    new Option('--partition <n>', 'only this partition').argParser(integer(0, limits.partitions - 1)),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { type, tenant, partition, json } = options
    const nothing = meansNothing(type ?? '*')
    if (nothing !== null) throw new AppError('INVALID_REQUEST', nothing)
    const from = startOf(options)
    const matches = typeMatcher(type ?? '*')
    const interruption = onInterruption(terminal, 'Stopped.')
    try {
      await withSession(context, async (concordat) => {
        if (tenant !== undefined) await requireTenant(concordat.database, tenant)
        await tailEvents(concordat, terminal, {
          signal: interruption.signal,
          from,
          asJson: json === true,
          wants: (event) =>
            matches(event.type) &&
            (tenant === undefined || event.tenantId === tenant) &&
            (partition === undefined || event.partition === partition),
          show: (event) => terminal.out(json ? toJsonLine(event) : eventLine(terminal, event, false)),
        })
      })
    } finally {
      interruption.end()
    }
    return 0
  },
})

function startOf({ sinceStart, since, from, partition }: EventsTailOptions): TailStart {
  if ([sinceStart, since, from].filter((given) => given !== undefined).length > 1) {
    throw new AppError('INVALID_REQUEST', 'only one of --since-start, --since and --from can be given')
  }
  if (since) return { since }
  if (from !== undefined) return { position: from, partition }
  return sinceStart ? 'start' : 'now'
}
