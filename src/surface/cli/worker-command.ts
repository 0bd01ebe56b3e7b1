import { Option } from 'commander'
import type { Concordat } from '../../runtime.ts'
import { defineCommand, integer } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { plural } from './format.ts'
import { databasePlace, runService } from './service-command.ts'

export const workerCommand = defineCommand<{ concurrency?: number }>({
  ...COMMANDS.worker,
  options: [
    new Option('--concurrency <n>', 'runs at the same time; default WORKER_CONCURRENCY').argParser(integer(1, 10_000)),
  ],
  run: (context) => {
    const { concurrency } = context.options
    return runService(context, {
      processKind: 'worker',
      ...(concurrency && { config: { workerConcurrency: concurrency } }),
      draining: 'Draining: no new runs, those under way get their time.',
      describe,
    })
  },
})

/** One line of what it does. */
function describe(concordat: Concordat): string {
  const { agents, config, reactor } = concordat
  const names = agents.all().map(({ name, version }) => `${name}@${version}`)
  return [
    `concordat worker ${process.pid}: ${plural(names.length, 'agent')} (${names.join(', ')})`,
    `${plural(config.workerConcurrency, 'run')} at a time`,
    databasePlace(concordat),
    `events by ${config.eventTransport}`,
    ...(config.eventReactorEnabled ? [plural(reactor.handlers.length, 'event handler')] : []),
    config.governanceProfile ? `profile ${config.governanceProfile}` : 'no governance profile',
  ].join(' · ')
}
