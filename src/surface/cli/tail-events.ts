import { sleep } from '../../foundation/backoff.ts'
import { createBus } from '../../foundation/bus/bus.ts'
import { type EventEnvelope, type Positions, positionsBefore, positionsNow } from '../../foundation/events/events.ts'
import { silentLogger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { Concordat } from '../../runtime.ts'
import type { Terminal } from './terminal.ts'
import { watchTransport } from './transport-watch.ts'

const POLL_MS = 200

/** With what is published next, the first event that is kept, a time, or a position of one partition or of all. */
export type TailStart =
  | 'now'
  | 'start'
  | { readonly since: Date }
  | { readonly position: number; readonly partition?: number | undefined }

export interface TailOptions {
  readonly signal: AbortSignal
  readonly from: TailStart
  /** What is told beside the events is told as JSON. */
  readonly asJson: boolean
  wants(event: EventEnvelope): boolean
  show(event: EventEnvelope): void
}

/**
 * Shows events as they are published until it is told to end. The outbox is read whatever the transport: it has every
 * event, and from the first on.
 */
export async function tailEvents(
  { database, config }: Concordat,
  terminal: Terminal,
  options: TailOptions,
): Promise<void> {
  const { signal, from, asJson, wants, show } = options
  const now = await positionsNow(database)
  const after = await startOf(database, from, now)
  const bus = await createBus({ transport: 'postgres', database, log: silentLogger })
  const read = new Map(after)
  await bus.start()
  await bus.subscribe(
    (event) => {
      read.set(event.partition, event.position)
      if (wants(event)) show(event)
    },
    { after },
  )
  const isDone = () => [...now].every(([partition, last]) => (read.get(partition) ?? 0) >= last)
  const transport = await watchTransport(config, terminal, asJson)
  while (!signal.aborted && !(database.kind === 'embedded' && isDone())) {
    transport.look()
    await sleep(POLL_MS, signal).catch(() => {})
  }
  await transport.stop()
  await bus.stop()
  if (!signal.aborted) sayNobodyElse(terminal)
}

async function startOf(database: Database, from: TailStart, now: Positions): Promise<Positions> {
  if (from === 'now') return now
  if (from === 'start') return new Map([...now.keys()].map((partition) => [partition, 0]))
  if ('since' in from) return positionsBefore(database, from.since)
  const { position, partition: only } = from
  return new Map(
    [...now].map(([partition, last]) => [partition, (only ?? partition) === partition ? position - 1 : last]),
  )
}

/** This process has the embedded database for itself, and executes nothing. */
export function sayNobodyElse(terminal: Terminal): void {
  terminal.err('These are all: on the embedded database no other process can add events while this one looks.')
}
