import type { RunStop } from '../../domains/runs/runs.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** Runs of one tenant that have not ended. */
export interface StopScope {
  readonly tenantId: string
  /** Null: of every agent. */
  readonly agent: string | null
  /** True: only those that have begun to execute, and not those that are queued. */
  readonly inFlight: boolean
}

/**
 * The stop of all runs of a scope: one row, which holds until none of them is left that was not told. Workers obey it from
 * memory, claims look at it, and meanwhile it is written into the runs, a batch at a time.
 */
export interface StopOrder extends StopScope {
  readonly orderId: string
  /** Submitted later than that is a new run, which it is not about. ISO 8601. */
  readonly createdUntil: string
  /** What each of its runs keeps. */
  readonly stop: RunStop
}

/** True when the order is about this run, which has not ended. */
export function isOrdered(
  { tenantId, agent, createdUntil }: StopOrder,
  run: { readonly tenantId: string; readonly agent: string; readonly createdAt: Date },
): boolean {
  return (
    tenantId === run.tenantId &&
    (agent === null || agent === run.agent) &&
    run.createdAt.getTime() <= Date.parse(createdUntil)
  )
}

/** The same in SQL, of an order `o` and a run. */
const IS_ORDERED = (run: string) => `o.tenant_id = ${run}.tenant_id and (o.agent is null or o.agent = ${run}.agent)
                 and ${run}.created_at <= o.created_until`

/** An SQL expression: the stop that an order has for a run that is being claimed; null when there is none. */
export const stopOrderedFor = (run: string) =>
  `(select o.stop from concordat.stop_orders o where ${IS_ORDERED(run)} limit 1)`

const ORDER = `jsonb_build_object('tenantId', o.tenant_id, 'orderId', o.order_id, 'agent', o.agent, 'inFlight', o.in_flight,
                 'createdUntil', o.created_until, 'stop', o.stop)`

/** An SQL expression: the orders that are about runs which the worker holds and which are not marked, as a JSON array. */
export const stopOrdersFor = (worker: string) =>
  `array(select ${ORDER} from concordat.stop_orders o
          where exists (select from concordat.runs h
                         where h.worker_id = ${worker} and h.stop is null and ${IS_ORDERED('h')}))`

/*
 * A suspension's is for a tenant that is suspended: whoever lets it in again waits for this row's commit and deletes it,
 * or was first, and then there is nothing to stop.
 */
const PLACE = statement(
  'stop_orders_place',
  `insert into concordat.stop_orders (tenant_id, order_id, agent, in_flight, created_until, stop, due_at)
   select tenant_id, $2, $3, $4, $5, $6::jsonb, clock_timestamp() + interval '${limits.stopOrderSweepMs} ms'
     from (select tenant_id from concordat.tenants where tenant_id = $1 and ($7 or status = 'suspended') for share) t
   returning 1`,
)

/** Places the order. False when it is a suspension's and its tenant is not suspended any more. */
export async function placeStopOrder(tx: Tx, order: StopOrder): Promise<boolean> {
  const { tenantId, orderId, agent, inFlight, createdUntil, stop } = order
  const anyway = stop.kind !== 'suspension'
  const values = [tenantId, orderId, agent, inFlight, createdUntil, JSON.stringify(stop), anyway]
  return (await tx.query(PLACE, values)).length > 0
}

const RENEW = statement(
  'stop_orders_renew',
  `update concordat.stop_orders set due_at = clock_timestamp() + interval '${limits.stopOrderSweepMs} ms'
    where tenant_id = $1 and order_id = $2`,
)

/** Says that somebody goes on with the order. */
export async function renewStopOrder(tx: Tx, { tenantId, orderId }: StopOrder): Promise<void> {
  await tx.query(RENEW, [tenantId, orderId])
}

const CLOSE = statement('stop_orders_close', 'delete from concordat.stop_orders where tenant_id = $1 and order_id = $2')

export async function closeStopOrder(tx: Tx, { tenantId, orderId }: StopOrder): Promise<void> {
  await tx.query(CLOSE, [tenantId, orderId])
}

const LIFT = statement(
  'stop_orders_lift',
  `delete from concordat.stop_orders where tenant_id = $1 and stop->>'kind' = 'suspension'`,
)

/** Takes back what suspensions of the tenant still have to stop: it was let in again. */
export async function liftSuspensionOrders(tx: Tx, tenantId: string): Promise<void> {
  await tx.query(LIFT, [tenantId])
}

const TAKE_DUE = statement(
  'stop_orders_take_due',
  `update concordat.stop_orders o set due_at = clock_timestamp() + interval '${limits.stopOrderSweepMs} ms'
    where o.ctid in (select ctid from concordat.stop_orders
                      where due_at <= statement_timestamp() order by due_at limit ${limits.sweepBatchMax} for update skip locked)
   returning ${ORDER} as "order"`,
)

/** Orders that nobody goes on with: they are the caller's now. */
export async function takeDueStopOrders(tx: Tx): Promise<StopOrder[]> {
  const rows = await tx.query<{ order: StopOrder }>(TAKE_DUE)
  return rows.map(({ order }) => order)
}
