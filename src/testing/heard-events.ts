import type { Bus, Subscription } from '../foundation/bus/bus.ts'
import type { EventEnvelope, EventType } from '../foundation/events/events.ts'

interface Waiter {
  readonly matches: (event: EventEnvelope) => boolean
  readonly resolve: (event: EventEnvelope) => void
}

/** Everything that a runtime's bus has delivered, and a way to wait for what is still to come. */
export class HeardEvents {
  readonly #heard: EventEnvelope[] = []
  #waiting: Waiter[] = []
  #subscription: Subscription | undefined

  async listen(bus: Bus): Promise<void> {
    this.#subscription = await bus.subscribe((event) => {
      this.#heard.push(event)
      for (const waiter of this.#waiting) if (waiter.matches(event)) waiter.resolve(event)
      this.#waiting = this.#waiting.filter((waiter) => !waiter.matches(event))
    })
  }

  of(runId: string): EventEnvelope[] {
    return this.#heard.filter((event) => event.runId === runId)
  }

  /** Resolves with the run's first event of this type, at once if it has been heard already. */
  async until(type: EventType, runId: string): Promise<EventEnvelope> {
    const matches = (event: EventEnvelope) => event.runId === runId && event.type === type
    const earlier = this.#heard.find(matches)
    if (earlier) return earlier
    return new Promise((resolve) => {
      this.#waiting.push({ matches, resolve })
    })
  }

  async close(): Promise<void> {
    await this.#subscription?.close()
  }
}
