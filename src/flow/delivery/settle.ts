import {
  addDeliveries,
  type ClaimedDelivery,
  type Endpoint,
  giveUpTarget,
  noteFailure,
  noteSuccess,
  retryDelivery,
  type Subscription,
  settleDelivery,
} from '../../domains/deliveries/deliveries.ts'
import { backoffMs } from '../../foundation/backoff.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { DeliveryOptions } from './delivery-options.ts'
import type { SubscriptionNotice } from './notification.ts'
import { sinkTarget } from './sinks.ts'
import type { Transmitted } from './transmit.ts'

/** Notes what became of an attempt: arrived, tried again later, or given up; and what it says about the endpoint. */
export async function settle(
  options: DeliveryOptions,
  delivery: ClaimedDelivery,
  endpoint: Endpoint | undefined,
  outcome: Transmitted,
): Promise<void> {
  const { database, log } = options
  const { deliveryId, target, tenantId, runId, attempts } = delivery
  if (outcome.kind === 'arrived') {
    await settleDelivery(database, deliveryId, null)
    if (endpoint) await noteSuccess(database, endpoint.subscriptionId)
    return
  }
  const error = safeText(outcome.error, limits.errorMessageCharsMax)
  const gone = outcome.gone || endpoint?.state === 'disabled'
  const ageMs = options.clock.nowMs() - delivery.createdAt.getTime()
  log.warn({ deliveryId, target, tenantId, runId, attempts, reason: error }, 'a delivery did not arrive')
  await database.transaction(async (tx) => {
    if (gone || ageMs > limits.deliveryAgeMsMax) await settleDelivery(tx, deliveryId, error)
    else await retryDelivery(tx, deliveryId, error, Math.max(retryInMs(attempts, options.random), outcome.retryAfterMs))
    if (endpoint) await judgeEndpoint(tx, options, delivery, endpoint, { error, gone: outcome.gone })
  })
}

/** Never at once: what has just failed would fail again. */
function retryInMs(attempt: number, random: () => number): number {
  const { deliveryBackoffMsBase: baseMs, deliveryBackoffMsCap: capMs } = limits
  return Math.ceil(backoffMs({ attempt, baseMs, capMs, random: () => 0.5 + random() / 2 }))
}

/** Disables a subscription whose endpoint has failed for days, with a notice through every sink. */
async function judgeEndpoint(
  tx: Tx,
  options: DeliveryOptions,
  { target }: ClaimedDelivery,
  { subscriptionId }: Endpoint,
  { error, gone }: { readonly error: string; readonly gone: boolean },
): Promise<void> {
  const { disableAfterMs } = options
  const because = gone
    ? 'its endpoint answered 410 Gone'
    : `no delivery arrived for ${disableAfterMs / 3_600_000} h; the last one: ${error}`
  const disabled = await noteFailure(tx, { subscriptionId, disableAfterMs, gone, because })
  if (!disabled) return
  await giveUpTarget(tx, target, 'its subscription is disabled')
  await giveNotice(tx, options, disabled, because)
}

async function giveNotice(
  tx: Tx,
  options: DeliveryOptions,
  subscription: Subscription,
  because: string,
): Promise<void> {
  const { sinks, newId, clock } = options
  const { tenantId, subscriptionId } = subscription
  const { origin, pathname } = new URL(subscription.url) // a query may hold what is nobody else's business
  const at = clock.now()
  const notice: SubscriptionNotice = {
    type: 'subscription.disabled',
    at: at.toISOString(),
    tenantId,
    subscriptionId,
    url: origin + pathname,
    because,
  }
  const sourceId = newId()
  const payload = JSON.stringify(notice)
  await addDeliveries(
    tx,
    sinks.map((sink) => {
      return { deliveryId: newId(), tenantId, runId: null, target: sinkTarget(sink), sourceId, payload, dueAt: at }
    }),
  )
}
