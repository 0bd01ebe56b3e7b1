import { addDeliveries, matchesType, type Subscriber, subscribersOf } from '../../domains/deliveries/deliveries.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

export interface FanOutOptions {
  readonly clock: Clock
  readonly newId: IdSource
}

/**
 * Turns events into deliveries to those who subscribed to them, in the transaction that handles the event. Most events
 * concern nobody, so what it knows of the subscriptions may be a second old; a new subscription is given out only after
 * that second, so that it misses nothing that happens from then on.
 */
export class FanOut {
  readonly #options: FanOutOptions
  #known: ReadonlyMap<string, readonly Subscriber[]> = new Map()
  #readAtMs = Number.NEGATIVE_INFINITY

  constructor(options: FanOutOptions) {
    this.#options = options
  }

  /** Nothing to await when nobody subscribed to the event. */
  handle(tx: Tx, event: EventEnvelope): Promise<void> | undefined {
    const isFresh = performance.now() - this.#readAtMs < limits.subscriptionsKnownMs
    return isFresh ? this.#deliver(tx, event) : this.#read(tx).then(() => this.#deliver(tx, event))
  }

  #deliver(tx: Tx, event: EventEnvelope): Promise<void> | undefined {
    const { tenantId, runId } = event
    const subscribers = this.#known.get(tenantId)?.filter((each) => isMeant(each, event)) ?? []
    if (subscribers.length === 0) return undefined
    const { clock, newId } = this.#options
    const payload = JSON.stringify(event)
    const dueAt = clock.now()
    const deliveries = subscribers.map(({ subscriptionId }) => {
      const target = `subscription/${subscriptionId}`
      return { deliveryId: newId(), tenantId, runId, target, sourceId: event.id, payload, dueAt }
    })
    return addDeliveries(tx, deliveries)
  }

  async #read(tx: Tx): Promise<void> {
    const readAtMs = performance.now() // before it is read: what is created meanwhile must not be missed for longer
    this.#known = Map.groupBy(await subscribersOf(tx), ({ tenantId }) => tenantId)
    this.#readAtMs = readAtMs
  }
}

/** Not for what had happened before it was created, when the reactor comes to it late. */
function isMeant({ types, createdAt }: Subscriber, { type, time }: EventEnvelope): boolean {
  return matchesType(types, type) && Date.parse(time) >= createdAt.getTime()
}
