import { serializeError } from '../../foundation/app-error.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { Logger } from '../../foundation/log.ts'
import { isStale } from '../../foundation/storage/storage.ts'
import { HandlerFailure, ReactorStopped } from './deliveries.ts'
import { type ReactorMetrics, TypeCounts } from './reactor-metrics.ts'

/** What a lane counts, measures and logs. */
export class LaneReport {
  readonly #handler: string
  readonly #log: Logger
  readonly #metrics: ReactorMetrics
  readonly #handled = new TypeCounts()

  constructor(handler: string, { log, metrics }: { readonly log: Logger; readonly metrics: ReactorMetrics }) {
    this.#handler = handler
    this.#log = log
    this.#metrics = metrics
  }

  handled(type: string, tookMs: number): void {
    this.#handled.add(type)
    this.#metrics.duration.observe({ type, handler: this.#handler }, tookMs / 1_000)
  }

  /** Hands over what was counted since. */
  count(): void {
    this.#handled.drain((type, times) => this.#metrics.handled.inc({ type, handler: this.#handler }, times))
  }

  failed({ id, type, runId, tenantId }: EventEnvelope, attempt: number, { cause }: HandlerFailure): void {
    const handler = this.#handler
    this.#metrics.failed.inc({ type, handler })
    this.#log.warn({ error: cause, handler, event: id, type, runId, tenantId, attempt }, 'A handler failed on an event')
  }

  buried({ id, type, runId, tenantId }: EventEnvelope): void {
    const handler = this.#handler
    this.#metrics.deadLetters.inc({ handler })
    this.#log.error(
      { handler, event: id, type, runId, tenantId },
      'An event is a dead letter now: see `concordat events redrive --dead-letters`',
    )
  }

  missed(partition: number, events: number): void {
    const handler = this.#handler
    this.#log.error({ handler, partition, events }, 'A handler has missed events: the outbox no longer has them')
    this.#metrics.missed.inc({ handler }, events)
  }
}

/** Whether the error says nothing about the event. */
export function isTrouble(error: unknown): boolean {
  const cause = error instanceof HandlerFailure ? error.cause : error
  if (isStale(cause)) return !(error instanceof HandlerFailure)
  if (cause instanceof ReactorStopped) return true
  return cause instanceof Error && (cause as { code?: string }).code === 'DATABASE_UNREACHABLE'
}

/** The handler's failure, or what has spoiled its transaction; throws what is nobody's fault. */
export function failureOf(error: unknown): HandlerFailure {
  if (isTrouble(error)) throw error
  return error instanceof HandlerFailure ? error : new HandlerFailure(error)
}

export function causeOf({ cause }: HandlerFailure): string {
  return JSON.stringify(serializeError(cause))
}
