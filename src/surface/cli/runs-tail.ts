import { Option } from 'commander'
import { isTerminal, type RunKey } from '../../domains/runs/runs.ts'
import { sleep } from '../../foundation/backoff.ts'
import { createBus } from '../../foundation/bus/bus.ts'
import { EventEnvelope, eventsOfRun, positionsNow } from '../../foundation/events/events.ts'
import { silentLogger } from '../../foundation/log.ts'
import type { Concordat } from '../../runtime.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { eventLine } from './event-line.ts'
import { namedRun } from './find-run.ts'
import { onInterruption } from './interruption.ts'
import { type CommandContext, type CommonOptions, withSession } from './session.ts'

const POLL_MS = 200

type TailContext = CommandContext<{ sinceStart?: true } & CommonOptions>

export const runsTail = defineCommand<{ sinceStart?: true }>({
  usage: 'tail [run]',
  description: 'follow events as they are published; with a run, until it has ended',
  options: [new Option('--since-start', 'from the first event that is kept on')],
  run: async (context) => {
    const interruption = onInterruption(context.terminal, 'Stopped.')
    try {
      return await withSession(context, (concordat) => {
        const { signal } = interruption
        return context.args[0] === undefined ? tailAll(context, concordat, signal) : tailRun(context, concordat, signal)
      })
    } finally {
      interruption.end()
    }
  },
})

/** The outbox is read whatever the transport: it has every event, and from the first on. */
async function tailAll(context: TailContext, { database }: Concordat, signal: AbortSignal): Promise<ExitCode> {
  const now = await positionsNow(database)
  const after = context.options.sinceStart ? new Map([...now.keys()].map((partition) => [partition, 0])) : now
  const bus = createBus({ transport: 'postgres', database, log: silentLogger })
  const { tenant } = context.options
  const read = new Map(after)
  await bus.start()
  await bus.subscribe(
    (event) => {
      read.set(event.partition, event.position)
      if (tenant === undefined || event.tenantId === tenant) show(context, event)
    },
    { after },
  )
  const isDone = () => [...now].every(([partition, last]) => (read.get(partition) ?? 0) >= last)
  while (!signal.aborted && !(database.kind === 'embedded' && isDone())) await pause(signal)
  await bus.stop()
  if (!signal.aborted) sayNobodyElse(context)
  return 0
}

async function tailRun(context: TailContext, concordat: Concordat, signal: AbortSignal): Promise<ExitCode> {
  const { database } = concordat
  const run = await namedRun(concordat, context)
  const { runId } = run
  let shown = context.options.sinceStart ? 0 : (await publishedEvents(concordat, run)).length
  for (;;) {
    const { phase, status } = await namedRun(concordat, context) // before the events: those of its end are there then
    const events = await publishedEvents(concordat, run)
    for (const event of events.slice(shown)) show(context, event)
    shown = events.length
    const ended = isTerminal(phase) && events.length === (await eventsOfRun(database, run)).length
    if (ended && !context.options.json) context.terminal.err(`Run ${runId} has ended: ${status}.`)
    if (!ended && database.kind === 'embedded') sayNobodyElse(context)
    if (ended || signal.aborted || database.kind === 'embedded') return 0
    await pause(signal)
  }
}

async function publishedEvents({ database }: Concordat, { tenantId, runId }: RunKey): Promise<EventEnvelope[]> {
  const events = await eventsOfRun(database, { tenantId, runId })
  return events.flatMap((event) => {
    const { position, publishedAt } = event
    return position === null || publishedAt === null ? [] : [new EventEnvelope({ ...event, tenantId, runId, position })]
  })
}

function show({ terminal, options, args }: TailContext, event: EventEnvelope): void {
  terminal.out(options.json ? JSON.stringify(event) : eventLine(terminal, event, args.length > 0))
}

/** This process has the embedded database for itself, and executes nothing. */
function sayNobodyElse({ terminal }: TailContext): void {
  terminal.err('These are all: on the embedded database no other process can add events while this one looks.')
}

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(POLL_MS, signal).catch(() => {})
}
