import {
  type ClaimedDelivery,
  claimDeliveries,
  type Endpoint,
  endpointsOf,
  pruneDeliveries,
} from '../../domains/deliveries/deliveries.ts'
import { guardedSender } from '../../foundation/http/http.ts'
import type { Logger } from '../../foundation/log.ts'
import { createTicker, defineService, type Service, startAll, stopAll } from '../../foundation/service.ts'
import { limits } from '../../limits.ts'
import type { DeliveryOptions } from './delivery-options.ts'
import { heldBackText, type Notification, summaryOf } from './notification.ts'
import { tellAudible } from './notify-alerts.ts'
import { endOrphanedDeliveries } from './orphaned-deliveries.ts'
import { settle } from './settle.ts'
import { sinkRequest, sinkTarget } from './sinks.ts'
import { subscriberRequest, type Transmitted, transmit } from './transmit.ts'

const PRUNE_MS = 60_000
const AUDIBLE_MS = 1_000
const SUBSCRIPTION = 'subscription/'

/**
 * Sends what is due, to sinks and subscribers alike, outside of any transaction. A claim is for 30 s: a process that dies
 * between sending and noting it leaves the delivery to another, which sends it again under the same id. Every worker and
 * every reactor runs it; sinks are served by the processes that know them.
 */
export function createDeliverySender(options: DeliveryOptions): Service {
  const { database, log, sinks } = options
  const byTarget = new Map(sinks.map((sink) => [sinkTarget(sink), sink]))
  const toSubscribers = guardedSender({ allowedPrivateHosts: options.allowedPrivateHosts })
  // Whoever writes the configuration decides where the operator's own notifications go.
  const toSinks = guardedSender({
    allowedPrivateHosts: sinks.flatMap((sink) => ('url' in sink ? [new URL(sink.url).host] : [])),
  })
  const underWay = new Map<Promise<void>, string>()
  let stopping = new AbortController()

  const send = async (delivery: ClaimedDelivery, endpoint: Endpoint | undefined): Promise<Transmitted> => {
    const sink = byTarget.get(delivery.target)
    const at = options.clock.now()
    if (endpoint) return transmit(subscriberRequest(endpoint, delivery, at), toSubscribers, stopping.signal)
    if (!sink) return { kind: 'failed', error: 'its subscription is gone', gone: true, retryAfterMs: 0 }
    const notification: Notification = JSON.parse(delivery.payload)
    if (sink.type !== 'log') {
      return transmit(sinkRequest(sink, notification, delivery.deliveryId, at), toSinks, stopping.signal)
    }
    tell(log, notification)
    return { kind: 'arrived' }
  }

  const sweep = createTicker({
    name: 'deliveries',
    intervalMs: limits.deliverySweepMs,
    tick: async (signal) => {
      const max = limits.deliveriesUnderWayMax - underWay.size
      if (max <= 0) return
      const claimed = await claimDeliveries(database, { sinks: [...byTarget.keys()], busy: busyTargets(underWay), max })
      const ids = claimed.flatMap(({ target }) =>
        target.startsWith(SUBSCRIPTION) ? [target.slice(SUBSCRIPTION.length)] : [],
      )
      const endpoints = new Map(
        (await endpointsOf(database, [...new Set(ids)])).map((each) => [SUBSCRIPTION + each.subscriptionId, each]),
      )
      for (const delivery of claimed) {
        const endpoint = endpoints.get(delivery.target)
        const sending = send(delivery, endpoint)
          .then((outcome) =>
            signal.aborted && outcome.kind === 'failed' ? undefined : settle(options, delivery, endpoint, outcome),
          )
          .catch((error) =>
            log.error({ error, deliveryId: delivery.deliveryId }, 'a delivery could not be noted; it is sent again'),
          )
          .finally(() => {
            underWay.delete(sending)
            sweep.nudge()
          })
        underWay.set(sending, delivery.target)
      }
    },
    onError: (error) => log.error({ error }, 'deliveries could not be claimed'),
  })
  const prune = createTicker({
    name: 'prune deliveries',
    intervalMs: PRUNE_MS,
    tick: async (signal) => {
      while (!signal.aborted && (await pruneDeliveries(database, options.retentionMs)) > 0);
      while (!signal.aborted && (await endOrphanedDeliveries(options)) > 0);
    },
    onError: (error) => log.error({ error }, 'old deliveries could not be pruned'),
  })
  const audible = createTicker({
    name: 'ended silences',
    intervalMs: AUDIBLE_MS,
    tick: async () => {
      while ((await tellAudible(database, options)) >= limits.silencesEndedMax);
    },
    onError: (error) => log.error({ error }, 'alerts whose silence has ended could not be told of'),
  })
  const parts = [sweep, prune, audible]
  return defineService('deliveries', {
    start: () => {
      stopping = new AbortController()
      return startAll(parts)
    },
    stop: async () => {
      await stopAll(parts)
      stopping.abort(new Error('the process ends'))
      await Promise.all(underWay.keys())
    },
  })
}

/** Targets that have as many under way as they may. */
function busyTargets(underWay: ReadonlyMap<unknown, string>): string[] {
  const counts = new Map<string, number>()
  for (const target of underWay.values()) counts.set(target, (counts.get(target) ?? 0) + 1)
  return [...counts].flatMap(([target, n]) => (n >= limits.deliveriesPerTargetMax ? [target] : []))
}

/** The log as a sink. */
function tell(log: Logger, notification: Notification): void {
  if (!('alert' in notification)) log.warn({ notification }, summaryOf(notification))
  else {
    const { alert, heldBack, type } = notification
    const held = heldBackText(heldBack)
    const message = [summaryOf(notification), held, `concordat audit get ${alert.runId}`]
      .filter((text) => text !== '')
      .join('; ')
    const level = type === 'alert.resolved' ? 'info' : 'warn'
    log[level]({ alertId: alert.alertId, runId: alert.runId, tenantId: alert.tenantId, heldBack }, message)
  }
}
