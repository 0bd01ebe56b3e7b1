import { Option } from 'commander'
import { type Redriven, redriveDeadLetters, redriveEvents } from '../../flow/reactor/reactor.ts'
import { AppError } from '../../foundation/app-error.ts'
import { limits } from '../../limits.ts'
import { defineCommand, instant, integer } from './command.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import type { Terminal } from './terminal.ts'

interface RedriveOptions {
  readonly since?: Date
  readonly from?: number
  readonly partition?: number
  readonly handler?: string
  readonly group?: string
  readonly deadLetters?: true
}

export const eventsRedrive = defineCommand<RedriveOptions>({
  usage: 'redrive',
  description: 'give handlers events again: since a time, from a position on, or those that are dead letters',
  options: [
    new Option('--since <time>', 'events published at this time or later').argParser(instant),
    new Option('--from <position>', 'events from this position on').argParser(integer(1, Number.MAX_SAFE_INTEGER)),
    new Option('--partition <n>', 'with --from: of this partition only').argParser(integer(0, limits.partitions - 1)),
    new Option('--dead-letters', 'events that handlers have failed on for good'),
    new Option('--handler <name>', 'only this handler; default: all'),
    new Option('--group <name>', 'group of reactors').default('concordat'),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { since, from, partition, handler, group = 'concordat', deadLetters, json } = options
    if ([since, from, deadLetters].filter((given) => given !== undefined).length !== 1) {
      throw new AppError('INVALID_REQUEST', 'one of --since, --from and --dead-letters must be given, and only one')
    }
    if (partition !== undefined && from === undefined) {
      throw new AppError('INVALID_REQUEST', '--partition goes with --from')
    }
    await withSession(context, async ({ database }) => {
      if (deadLetters) {
        const revived = await redriveDeadLetters(database, { group, handler })
        if (json) terminal.out(toJson({ deadLetters: revived }))
        else showRevived(terminal, revived)
        return
      }
      const start = since ? { since } : { position: from ?? 1, partition }
      const redriven = await redriveEvents(database, { group, handler, from: start })
      if (json) terminal.out(toJson({ redriven }))
      else showRedriven(terminal, redriven)
    })
    return 0
  },
})

function showRevived(terminal: Terminal, revived: readonly { handler: string; events: number }[]): void {
  if (revived.length === 0) terminal.out('There are no dead letters of handlers here.')
  for (const { handler, events } of revived) terminal.out(`${handler} gets ${plural(events, 'event')} again.`)
}

/** Handler by handler: positions are dense, so their difference is the number of events. */
function showRedriven(terminal: Terminal, redriven: readonly Redriven[]): void {
  if (redriven.length === 0) {
    terminal.out('No handler has had an event of that kind yet: nothing to give again.')
    return
  }
  const columns = [
    { head: 'HANDLER', flexible: true },
    { head: 'EVENTS', align: 'right' },
    { head: 'PARTITIONS', align: 'right' },
  ] as const
  const rows = [...Map.groupBy(redriven, (row) => row.handler)].map(([handler, own]) => {
    const events = own.reduce((sum, { from, to }) => sum + from - to, 0)
    return [handler, String(events), String(own.length)]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
  terminal.out('Running reactors begin within seconds; others when they are started.')
}
