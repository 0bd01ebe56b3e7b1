import { Option } from 'commander'
import type { Concordat } from '../../runtime.ts'
import { defineCommand, integer } from './command.ts'
import { plural } from './format.ts'
import { onInterruption } from './interruption.ts'

export const workerCommand = defineCommand<{ concurrency?: number }>({
  usage: 'worker',
  description: 'execute runs until it is told to end (Ctrl-C, SIGTERM), then drain',
  options: [
    new Option('--concurrency <n>', 'runs at the same time; default WORKER_CONCURRENCY').argParser(integer(1, 10_000)),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const concordat = await context.open({
      processKind: 'worker',
      logLevel: 'info',
      ...(options.concurrency && { config: { workerConcurrency: options.concurrency } }),
    })
    const interruption = onInterruption(terminal, 'Draining: no new runs, those under way get their time.')
    try {
      await concordat.start()
      terminal.err(description(concordat))
      await new Promise<void>((resolve) => {
        if (interruption.signal.aborted) resolve()
        interruption.signal.addEventListener('abort', () => resolve(), { once: true })
      })
    } finally {
      await concordat.close()
      interruption.end()
    }
    return 0
  },
})

/** One line of what it does. */
function description({ agents, config, database }: Concordat): string {
  const names = agents.all().map(({ name, version }) => `${name}@${version}`)
  const where =
    database.kind === 'embedded' ? `embedded database ${config.dataDir}` : `PostgreSQL ${placeOf(config.databaseUrl)}`
  return [
    `concordat worker ${process.pid}: ${plural(names.length, 'agent')} (${names.join(', ')})`,
    `${plural(config.workerConcurrency, 'run')} at a time`,
    where,
    `events by ${config.eventTransport}`,
    config.governanceProfile ? `profile ${config.governanceProfile}` : 'no governance profile',
  ].join(' · ')
}

/** Host and database, without user and password. */
function placeOf(url: string | undefined): string {
  const { host, pathname } = new URL(url ?? '')
  return host + pathname
}
