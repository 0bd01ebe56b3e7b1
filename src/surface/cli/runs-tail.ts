import { Option } from 'commander'
import { isTerminal, type RunKey } from '../../domains/runs/runs.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { sleep } from '../../foundation/backoff.ts'
import { EventEnvelope, eventsOfRun } from '../../foundation/events/events.ts'
import type { Concordat } from '../../runtime.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { eventLine } from './event-line.ts'
import { namedRun } from './find-run.ts'
import { onInterruption } from './interruption.ts'
import { toJsonLine } from './json.ts'
import { type CommandContext, type CommonOptions, withSession } from './session.ts'
import { sayNobodyElse, tailEvents } from './tail-events.ts'
import { type TransportWatch, watchTransport } from './transport-watch.ts'

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

async function tailAll(context: TailContext, concordat: Concordat, signal: AbortSignal): Promise<ExitCode> {
  const { sinceStart = false, tenant } = context.options
  if (tenant !== undefined) await requireTenant(concordat.database, tenant)
  await tailEvents(concordat, context.terminal, {
    signal,
    from: sinceStart ? 'start' : 'now',
    asJson: context.options.json === true,
    wants: (event) => tenant === undefined || event.tenantId === tenant,
    show: (event) => show(context, event),
  })
  return 0
}

async function tailRun(context: TailContext, concordat: Concordat, signal: AbortSignal): Promise<ExitCode> {
  const transport = await watchTransport(concordat.config, context.terminal, context.options.json === true)
  return followRun(context, concordat, signal, transport).finally(() => transport.stop())
}

async function followRun(
  context: TailContext,
  concordat: Concordat,
  signal: AbortSignal,
  transport: TransportWatch,
): Promise<ExitCode> {
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
    if (!ended && database.kind === 'embedded') sayNobodyElse(context.terminal)
    if (ended || signal.aborted || database.kind === 'embedded') return 0
    transport.look()
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
  terminal.out(options.json ? toJsonLine(event) : eventLine(terminal, event, args.length > 0))
}

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(POLL_MS, signal).catch(() => {})
}
