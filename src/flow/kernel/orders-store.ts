import type { RunKey } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type StopOrder, stopOrdersFor } from './stop-order-store.ts'

/** The channel on which workers are nudged to read their orders. */
export const ORDERS_CHANNEL = 'concordat_orders'

/**
 * What is pushed: whom it concerns, and no more. The rows are the truth; a worker that holds no run of the tenant, or
 * not this run, does nothing.
 */
export interface OrderPush {
  readonly tenantId: string
  /** Absent: any run of the tenant. */
  readonly runId?: string
  /** True when it is known without a look at the rows that the run was stopped: a round trip less. */
  readonly stop?: true
  /** The same of a pause. */
  readonly pause?: true
  /** The stop of a scope: whoever executes one of its runs aborts it without a look at the rows. */
  readonly stopOrder?: StopOrder
}

/** One that is too long for a notification says only that there is something to read. */
export function encodePush(push: OrderPush): string {
  const payload = JSON.stringify(push)
  return Buffer.byteLength(payload) <= limits.orderPushBytesMax
    ? payload
    : JSON.stringify({ tenantId: push.tenantId } satisfies OrderPush)
}

/** Null: nobody of this version has sent that. */
export function decodePush(payload: string): OrderPush | null {
  try {
    const push = JSON.parse(payload) as Partial<OrderPush> | null
    return typeof push?.tenantId === 'string' ? (push as OrderPush) : null
  } catch {
    return null
  }
}

/** What the rows tell a worker to do with the runs that it holds. */
export interface Orders {
  /** Runs that were asked to stop. */
  readonly stops: readonly string[]
  /** Stops of whole scopes that are about a run which it holds. */
  readonly stopOrders: readonly StopOrder[]
  /** Runs that are to pause before their next step. */
  readonly pauses: readonly string[]
  /** Which policies are in force of the tenants whose runs it holds, by tenant. */
  readonly policies: { readonly [tenantId: string]: number }
}

/** An SQL expression that gives `Orders` as `jsonb`; `worker` is one for the worker's id. A kind of order is one field. */
export function ordersSql(worker: string): string {
  return `jsonb_build_object(
            'stops', array(select r.run_id from concordat.runs r where r.worker_id = ${worker} and r.stop is not null),
            'stopOrders', ${stopOrdersFor(worker)},
            'pauses', array(select r.run_id from concordat.runs r where r.worker_id = ${worker} and r.pause_request is not null),
            'policies', (select coalesce(jsonb_object_agg(t.tenant_id, t.policies_version), '{}') from concordat.tenants t
                          where t.tenant_id in (select h.tenant_id from concordat.runs h where h.worker_id = ${worker})))`
}

const READ = statement('workers_orders', `select ${ordersSql('$1::uuid')} as orders`)

/** The orders of one worker; its heartbeats' replies bring the same. */
export async function readOrders(tx: Tx, workerId: string): Promise<Orders> {
  const [row] = await tx.query<{ orders: Orders }>(READ, [workerId])
  return row?.orders ?? { stops: [], stopOrders: [], pauses: [], policies: {} }
}

const RUNS = rowSet<RunKey>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
})

const PAUSES_DELIVERED = statement(
  'runs_pauses_delivered',
  `update concordat.runs r
      set pause_request = r.pause_request || $1::jsonb
     from ${RUNS.from(2)} as x
    where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.pause_request is not null`,
)

/** Notes that their worker has heard of these runs' pauses: none of them begins another step. */
export async function pausesDelivered(tx: Tx, runs: readonly RunKey[], at: Date): Promise<void> {
  const inOrder = runs.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))
  await tx.query(PAUSES_DELIVERED, [JSON.stringify({ deliveredAt: at.toISOString() }), ...RUNS.values(inOrder)])
}
