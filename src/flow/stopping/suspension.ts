import { halfSuspended, markResumed, markSuspended, type TenantNote } from '../../domains/tenants/tenants.ts'
import { sleep } from '../../foundation/backoff.ts'
import { appendEvents, type EventType } from '../../foundation/events/events.ts'
import { NO_RUN } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { StopNote, StoppedBatch } from '../kernel/kernel.ts'
import { endTaken, type Stopped, type StoppingContext, stopScope } from './stop-runs.ts'

/** `changed` false: it was so before, and nothing was done. */
export interface StatusChange extends Stopped {
  readonly changed: boolean
}

const NOTHING = { executing: [], taken: 0 } as const

/**
 * Suspends a tenant. One transaction: its status, the event, and the stop of what it has in flight: runs that execute,
 * wait or are paused end as `failed_policy`. Queued ones stay queued until it is resumed; new ones are denied. Fails
 * with `UNKNOWN_TENANT`.
 */
export async function suspendTenant(
  context: StoppingContext,
  tenantId: string,
  { by, why }: TenantNote,
): Promise<StatusChange> {
  const { database, kernel, clock } = context
  const note: StopNote = { kind: 'suspension', by, why }
  const batches = await database.transaction(async (tx) => {
    const at = clock.now()
    if (!(await markSuspended(tx, tenantId, { by, why, at: at.toISOString() }))) return null
    await tell(tx, context, tenantId, 'tenant.suspended', { by, why })
    return stopInFlight(tx, context, tenantId, note)
  })
  if (batches === null) return { changed: false, ...NOTHING }
  await kernel.push({ tenantId })
  const taken = batches.flatMap((batch) => batch.taken)
  const [rest] = await Promise.all([stopStarted(context, tenantId, note), endTaken(context, taken)])
  const executing = [...batches.flatMap((batch) => batch.executing), ...rest.executing]
  return { changed: true, executing, taken: taken.length + rest.taken }
}

/** Lets a tenant in again: its queued runs are claimed. What the suspension stopped stays ended. Fails with `UNKNOWN_TENANT`. */
export async function resumeTenant(
  context: StoppingContext,
  tenantId: string,
  { by, why }: TenantNote,
): Promise<{ readonly changed: boolean }> {
  const changed = await context.database.transaction(async (tx) => {
    if (!(await markResumed(tx, tenantId))) return false
    await tell(tx, context, tenantId, 'tenant.resumed', { by, why })
    return true
  })
  return { changed }
}

/** Stops what suspensions have left in flight whose process died halfway. */
export async function sweepSuspended(context: StoppingContext): Promise<void> {
  for (const { tenantId, by, why } of await halfSuspended(context.database)) {
    await stopScope(context, { tenantId, agent: null, inFlight: true }, { kind: 'suspension', by, why })
  }
}

/** In the suspension's transaction, up to a bound; a tenant with more than that in flight has the rest stopped after it. */
async function stopInFlight(
  tx: Tx,
  { kernel }: StoppingContext,
  tenantId: string,
  note: StopNote,
): Promise<StoppedBatch[]> {
  const batches: StoppedBatch[] = []
  while (batches.length < limits.suspensionBatchesMax) {
    const batch = await kernel.requestStops(tx, { tenantId, agent: null, inFlight: true }, note)
    batches.push(batch)
    if (batch.last) break
  }
  return batches
}

/**
 * What started a run and had read the tenant as active may be committed after the suspension has looked for what is in
 * flight. So it looks again, once such starts are through: what starts later has read the suspension.
 */
async function stopStarted(context: StoppingContext, tenantId: string, note: StopNote): Promise<Stopped> {
  const scope = { tenantId, agent: null, inFlight: true }
  const giveUpAt = performance.now() + limits.suspensionPatienceMs // a worker that stands still halfway; then it is swept
  const found: Stopped[] = []
  for (;;) {
    const passed = await context.kernel.passStarts(limits.startsPassMs)
    found.push(await stopScope(context, scope, note))
    if (passed || performance.now() > giveUpAt) break
    await sleep(limits.startsPassMs)
  }
  return {
    executing: found.flatMap(({ executing }) => executing),
    taken: found.reduce((sum, { taken }) => sum + taken, 0),
  }
}

async function tell(
  tx: Tx,
  { clock, newId }: StoppingContext,
  tenantId: string,
  type: EventType,
  data: { readonly by: string; readonly why: string },
): Promise<void> {
  const event = { id: newId(), type, time: clock.now().toISOString(), data }
  await appendEvents(tx, [{ tenantId, runId: NO_RUN, events: [event] }])
}
