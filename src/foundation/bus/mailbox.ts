import type { EventEnvelope } from '../events/events.ts'
import type { Logger } from '../log.ts'
import type { Hear } from './port.ts'

/** Events that may wait for one subscriber; some MB at the usual size. */
export const MAILBOX_EVENTS_MAX = 20_000

/** One subscriber's queue: events are heard one after the other, and one that can't be handled stops no other. */
export class Mailbox {
  readonly #hear: Hear
  readonly #log: Logger
  #batches: (readonly EventEnvelope[])[] = []
  #size = 0
  #delivery: Promise<void> = Promise.resolve()
  #closed = false

  constructor(hear: Hear, log: Logger) {
    this.#hear = hear
    this.#log = log
  }

  /** Whether so many wait already that no more should be put in. */
  get full(): boolean {
    return this.#size >= MAILBOX_EVENTS_MAX
  }

  put(events: readonly EventEnvelope[]): void {
    if (this.#closed) return
    const idle = this.#size === 0
    this.#size += events.length
    this.#batches.push(events)
    if (idle) this.#delivery = this.#deliver()
  }

  /** Resolves when everything that waits has been heard. */
  empty(): Promise<void> {
    return this.#delivery
  }

  /** Drops what waits, and resolves when nothing is being heard any more. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#delivery
  }

  async #deliver(): Promise<void> {
    for (let batch = this.#batches.shift(); batch; batch = this.#batches.shift()) {
      for (const event of batch) {
        if (this.#closed) return
        const hearing = hearSafely(this.#hear, event, this.#log)
        if (hearing) await hearing
        this.#size--
      }
    }
  }
}

/** A subscriber's error is its own matter: it is logged, and the next event comes. Undefined: it has heard already. */
export function hearSafely(hear: Hear, event: EventEnvelope, log: Logger): Promise<void> | undefined {
  const failed = (error: unknown) =>
    log.error({ error, event: event.id, type: event.type, runId: event.runId }, 'A subscriber failed on an event')
  try {
    const hearing = hear(event)
    return hearing ? hearing.then(undefined, failed) : undefined
  } catch (error) {
    failed(error)
  }
}
