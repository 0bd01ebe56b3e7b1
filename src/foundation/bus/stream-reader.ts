import { ErrorReply } from '@redis/client'
import { AppError } from '../app-error.ts'
import { sleep } from '../backoff.ts'
import { EventEnvelope } from '../events/events.ts'
import type { Logger } from '../log.ts'
import { SAFETY_POLL_MS } from './feed.ts'
import { PendingEntries } from './pending-entries.ts'
import type { Feed, FeedOptions } from './port.ts'
import { RedisLink } from './redis-link.ts'
import { waitForLink } from './redis-listener.ts'
import type { StreamFaults } from './stream-faults.ts'

/** Of each stream; an entry has up to ten events, and those of all partitions together should stay young. */
const READ_ENTRIES_MAX = 50
/** How late a partition that was just taken over is read at the most; the outbox is read meanwhile. */
const BLOCK_MS = 250
const RETRY_MS = 250
/** When a stream that Redis refuses to read is tried again. */
const REFUSED_RETRY_MS = 5_000
/** Entries that somebody took and did not acknowledge in this time are ours, if the partition is. */
const STALLED_MS = 30_000
const CLAIM_ENTRIES_MAX = 500
/** A consumer that is gone and has nothing pending is forgotten after this time. */
const FORGET_MS = 3_600_000

/*
 * Only consumers without pending entries: those of others would be lost to the group. (They could still be read from the
 * outbox; but what the group tells about itself would be wrong.)
 */
const FORGET_CONSUMERS = `for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local field = {}
  for i = 1, #consumer, 2 do field[consumer[i]] = consumer[i + 1] end
  if field.pending == 0 and (field.name == ARGV[2] or field.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], field.name)
  end
end`

/** Without fields: trimmed while it was pending. */
type Entry = readonly [id: string, fields: readonly string[] | null]

export interface StreamReaderOptions {
  readonly url: string
  readonly log: Logger
  readonly faults: StreamFaults
  readonly streamPrefix: string
  readonly feed: FeedOptions
  readonly onClose: () => void
}

/** One reactor's share of the streams: reads the partitions that it holds, and acknowledges what is dealt with. */
export class StreamReader implements Feed {
  readonly pollMs = SAFETY_POLL_MS
  readonly isTrusted = false
  readonly #options: StreamReaderOptions
  /** Waits for entries; everything else goes over the other one. */
  readonly #reading: RedisLink
  readonly #asking: RedisLink
  readonly #pending = new PendingEntries()
  #wanted: ReadonlySet<number> = new Set()
  /** Partitions whose group exists and whose stalled entries are claimed. */
  readonly #ready = new Set<number>()
  /** Partitions whose stream Redis refuses to read, and when they are tried again. */
  readonly #refusedUntilMs = new Map<number, number>()
  readonly #stop = new AbortController()
  #loop: Promise<void> = Promise.resolve()
  #claimAtMs = 0
  #group = ''
  #wake = () => {}

  constructor(options: StreamReaderOptions) {
    const { url, log } = options
    this.#options = options
    this.#asking = new RedisLink({ url, log, onReady: async () => this.#ready.clear() })
    this.#reading = new RedisLink({ url, log })
  }

  get isReady(): boolean {
    return this.#reading.isReady && this.#asking.isReady
  }

  async open(): Promise<void> {
    await Promise.all([waitForLink(this.#asking, this.#options.log), waitForLink(this.#reading, this.#options.log)])
    this.#loop = this.#run(this.#stop.signal)
  }

  want(partitions: ReadonlySet<number>, group: string): void {
    if (group !== this.#group) {
      this.#group = group
      this.#ready.clear()
      this.#pending.keep(new Set())
    }
    for (const partition of this.#ready) if (!partitions.has(partition)) this.#ready.delete(partition)
    this.#pending.keep(partitions)
    this.#wanted = new Set(partitions)
    this.#wake()
  }

  handled(partition: number, position: number): void {
    const ids = this.#pending.handled(partition, position)
    if (ids.length > 0) void this.#acknowledge(partition, ids)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    const { feed, onClose } = this.#options
    const limits = [this.#group, feed.reader, String(FORGET_MS)]
    for (const partition of this.#ready) {
      await this.#asking
        .call((client) => client.eval(FORGET_CONSUMERS, { keys: [this.#stream(partition)], arguments: limits }))
        .catch(() => {})
    }
    this.#reading.close()
    this.#asking.close()
    onClose()
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.#prepare()
        if (this.#ready.size === 0) await this.#untilWanted(signal)
        else await this.#read()
        failures = 0
      } catch (error) {
        if (signal.aborted) return
        this.#ready.clear() // the groups may be gone too
        const { log } = this.#options
        if (failures++ === 0) log.debug({ error }, 'The streams can’t be read, the outbox is')
        await sleep(RETRY_MS, signal).catch(() => {})
      }
    }
  }

  /** Other partitions are wanted, or it is time to look whether they can be read. */
  async #untilWanted(signal: AbortSignal): Promise<void> {
    const wanted = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([wanted, sleep(BLOCK_MS, signal)])
  }

  /** Makes sure of the groups, and takes over what others have left. */
  async #prepare(): Promise<void> {
    const nowMs = performance.now()
    const isDue = nowMs >= this.#claimAtMs
    if (isDue) this.#claimAtMs = nowMs + STALLED_MS
    for (const partition of this.#wanted) {
      if (nowMs < (this.#refusedUntilMs.get(partition) ?? 0)) continue
      try {
        await this.#open(partition, isDue)
      } catch (error) {
        const refusal = error instanceof Error ? error.cause : undefined
        if (!(refusal instanceof ErrorReply)) throw error
        this.#ready.delete(partition) // its events are read from the outbox, those of the others as ever
        this.#refusedUntilMs.set(partition, nowMs + REFUSED_RETRY_MS)
        this.#options.faults.tell(this.#stream(partition), refusal.message)
      }
    }
  }

  async #open(partition: number, isDue: boolean): Promise<void> {
    const isNew = !this.#ready.has(partition)
    if (isNew) await this.#createGroup(partition)
    // Who had the partition before has no lease any more, so that nothing of it needs to be waited for.
    if (isNew || isDue) await this.#claim(partition, isNew ? 0 : STALLED_MS)
    this.#ready.add(partition)
  }

  async #createGroup(partition: number): Promise<void> {
    const create = ['XGROUP', 'CREATE', this.#stream(partition), this.#group, '0', 'MKSTREAM']
    await this.#asking
      .call((client) => client.sendCommand(create))
      .catch((error: Error) => {
        if (!String(error.cause ?? error).includes('BUSYGROUP')) throw error
      })
  }

  async #claim(partition: number, idleMs: number): Promise<void> {
    const { feed } = this.#options
    const stream = this.#stream(partition)
    for (let from = '0-0'; ; ) {
      const command = [
        'XAUTOCLAIM',
        stream,
        this.#group,
        feed.reader,
        String(idleMs),
        from,
        'COUNT',
        String(CLAIM_ENTRIES_MAX),
      ]
      const [next, entries] = (await this.#asking.call((client) => client.sendCommand(command))) as [string, Entry[]]
      this.#take(partition, entries)
      if (next === '0-0') return
      from = next
    }
  }

  async #read(): Promise<void> {
    const { feed, streamPrefix } = this.#options
    const partitions = [...this.#ready]
    const command = ['XREADGROUP', 'GROUP', this.#group, feed.reader, 'COUNT', String(READ_ENTRIES_MAX)]
    command.push('BLOCK', String(BLOCK_MS), 'STREAMS')
    for (const partition of partitions) command.push(this.#stream(partition))
    for (const _ of partitions) command.push('>')
    const found = (await this.#reading.call((client) => client.sendCommand(command))) as Record<string, Entry[]> | null
    for (const [key, entries] of Object.entries(found ?? {})) {
      this.#take(Number(key.slice(streamPrefix.length)), entries)
    }
  }

  #take(partition: number, entries: readonly Entry[]): void {
    const { feed } = this.#options
    const events: EventEnvelope[] = []
    const done: string[] = []
    for (const [id, fields] of entries) {
      let position = 0
      const isKnown = this.#pending.has(partition, id)
      for (const message of fields === null ? [] : messagesOf(fields)) {
        try {
          const event = EventEnvelope.parse(message)
          if (event.partition !== partition)
            throw new AppError('INVALID_INPUT', `It is an event of partition ${event.partition}`)
          events.push(event)
          position = Math.max(position, event.position)
        } catch (error) {
          if (!isKnown) feed.malformed(message, error, 'one')
        }
      }
      if (!this.#pending.add(partition, id, position)) done.push(id)
    }
    if (events.length > 0) feed.hear(events)
    if (done.length > 0) void this.#acknowledge(partition, done)
  }

  /** An acknowledgement that is lost leaves an entry that is claimed and found to be known later. */
  async #acknowledge(partition: number, ids: readonly string[]): Promise<void> {
    const command = ['XACK', this.#stream(partition), this.#group, ...ids]
    await this.#asking.call((client) => client.sendCommand(command)).catch(() => {})
  }

  #stream(partition: number): string {
    return `${this.#options.streamPrefix}${partition}`
  }
}

/** The events of an entry, or all of one that somebody else has put there. */
function messagesOf(fields: readonly string[]): readonly string[] {
  const isEvent = fields.every((name, i) => i % 2 === 1 || name === 'event')
  return isEvent ? fields.filter((_, i) => i % 2 === 1) : [JSON.stringify(fields)]
}
