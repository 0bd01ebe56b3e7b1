import type { Concordat } from '../../runtime.ts'
import { defineCommand } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { plural } from './format.ts'
import { databasePlace, runService } from './service-command.ts'

export const reactorCommand = defineCommand({
  ...COMMANDS.reactor,
  run: (context) =>
    runService(context, {
      processKind: 'reactor',
      draining: 'Stopping: no new events, handlers get their time.',
      describe,
    }),
})

/** One line of what it does. */
function describe(concordat: Concordat): string {
  const { config, reactor } = concordat
  const names = reactor.handlers
  return [
    `concordat reactor ${process.pid}: ${plural(names.length, 'event handler')}${names.length > 0 ? ` (${names.join(', ')})` : ''}`,
    databasePlace(concordat),
    `events by ${config.eventTransport}`,
  ].join(' · ')
}
