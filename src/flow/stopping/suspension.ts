import { halfSuspended, markResumed, markSuspended, type TenantNote } from '../../domains/tenants/tenants.ts'
import { appendEvents, type EventType } from '../../foundation/events/events.ts'
import { NO_RUN } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import type { StopNote } from '../kernel/kernel.ts'
import { carryOut, type Stopped, type StoppingContext, stopScope } from './stop-runs.ts'

/**
 * Suspends a tenant. One transaction: its status, the event, and the order that stops what it has in flight: runs that
 * execute, wait or are paused end as `failed_policy`. Queued ones stay queued until it is resumed; new ones are denied.
 * Null: it was suspended before, and nothing was done. Fails with `UNKNOWN_TENANT`.
 */
export async function suspendTenant(
  context: StoppingContext,
  tenantId: string,
  { by, as, why }: TenantNote,
): Promise<Stopped | null> {
  const { database, kernel, clock } = context
  const order = await database.transaction(async (tx) => {
    const at = clock.now()
    if (!(await markSuspended(tx, tenantId, { by, as, why, at: at.toISOString() }))) return null
    await tell(tx, context, tenantId, 'tenant.suspended', { by, as, why })
    return kernel.orderStop(tx, inFlight(tenantId), { kind: 'suspension', by, as, why })
  })
  return order && carryOut(context, order)
}

/** Lets a tenant in again: its queued runs are claimed. What the suspension stopped stays ended. Fails with `UNKNOWN_TENANT`. */
export async function resumeTenant(
  context: StoppingContext,
  tenantId: string,
  { by, as, why }: TenantNote,
): Promise<{ readonly changed: boolean }> {
  const changed = await context.database.transaction(async (tx) => {
    if (!(await markResumed(tx, tenantId))) return false
    await context.kernel.liftSuspensionOrders(tx, tenantId)
    await tell(tx, context, tenantId, 'tenant.resumed', { by, as, why })
    return true
  })
  return { changed }
}

/** Stops what suspended tenants have in flight and no order is about, as where somebody has changed their status by hand. */
export async function sweepSuspended(context: StoppingContext): Promise<void> {
  for (const { tenantId, by, as, why } of await halfSuspended(context.database)) {
    const note: StopNote = { kind: 'suspension', by, as, why }
    await stopScope(context, inFlight(tenantId), note)
  }
}

function inFlight(tenantId: string) {
  return { tenantId, agent: null, inFlight: true }
}

async function tell(
  tx: Tx,
  { clock, newId }: StoppingContext,
  tenantId: string,
  type: EventType,
  data: { readonly by: string; readonly as: string; readonly why: string },
): Promise<void> {
  const event = { id: newId(), type, time: clock.now().toISOString(), data }
  await appendEvents(tx, [{ tenantId, runId: NO_RUN, events: [event] }])
}
