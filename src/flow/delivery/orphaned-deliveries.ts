import { addDeliveries, giveUpOrphaned } from '../../domains/deliveries/deliveries.ts'
import { limits } from '../../limits.ts'
import type { DeliveryOptions } from './delivery-options.ts'
import type { SinkNotice } from './notification.ts'
import { sinkTarget } from './sinks.ts'

/**
 * Ends what waits for sinks that no process has any more, because they were taken out of the configuration: after the
 * days that a delivery is tried for, with a notice through the sinks that there are. Returns how many it ended.
 */
export async function endOrphanedDeliveries(options: DeliveryOptions): Promise<number> {
  const { database, sinks, newId, clock, log } = options
  const targets = sinks.map(sinkTarget)
  return database.transaction(async (tx) => {
    const orphaned = await giveUpOrphaned(tx, { known: targets, afterMs: limits.deliveryAgeMsMax })
    const at = clock.now()
    for (const [key, own] of Map.groupBy(orphaned, ({ tenantId, target }) => JSON.stringify([tenantId, target]))) {
      const [tenantId, target] = JSON.parse(key) as [string, string]
      const sink = target.slice('sink/'.length)
      log.warn({ sink, tenantId, deliveries: own.length }, 'Notifications are given up: no process has their sink')
      const notice: SinkNotice = {
        type: 'sink.gone',
        at: at.toISOString(),
        tenantId,
        sink,
        deliveries: own.length,
        because: `no process has had it for ${limits.deliveryAgeMsMax / 86_400_000} days`,
      }
      const sourceId = newId()
      const payload = JSON.stringify(notice)
      await addDeliveries(
        tx,
        targets.map((known) => {
          return { deliveryId: newId(), tenantId, runId: null, target: known, sourceId, payload, dueAt: at }
        }),
      )
    }
    return orphaned.length
  })
}
