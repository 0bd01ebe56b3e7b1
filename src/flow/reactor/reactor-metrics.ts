import type { Metrics } from '../../foundation/metrics.ts'

/** Counts by type: one increment a batch is cheaper than one an event. */
export class TypeCounts {
  readonly #counts = new Map<string, number>()

  add(type: string): void {
    this.#counts.set(type, (this.#counts.get(type) ?? 0) + 1)
  }

  /** Hands over what was counted, and begins anew. */
  drain(count: (type: string, times: number) => void): void {
    if (this.#counts.size === 0) return
    for (const [type, times] of this.#counts) count(type, times)
    this.#counts.clear()
  }
}

/** What the reactor counts and measures. */
export function reactorMetrics(metrics: Metrics) {
  return {
    received: metrics.counter('concordat_events_received_total'),
    malformed: metrics.counter('concordat_events_malformed_total'),
    handled: metrics.counter('concordat_events_handled_total'),
    failed: metrics.counter('concordat_events_failed_total'),
    deadLetters: metrics.counter('concordat_event_dead_letters_total'),
    duration: metrics.histogram('concordat_event_handler_duration_seconds'),
    lag: metrics.gauge('concordat_reactor_lag_events'),
    missed: metrics.counter('concordat_events_missed_total'),
  }
}

export type ReactorMetrics = ReturnType<typeof reactorMetrics>
