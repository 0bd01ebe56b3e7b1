import type { RunStop } from '../../domains/runs/runs.ts'
import { jsonTextSql } from '../../foundation/events/events.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Lease } from './messages.ts'
import { announceOf } from './stop-store.ts'

/** A stop that the worker which executes the run has heard. */
export interface HeardStop {
  readonly lease: Lease
  /** What an order has for the run, whose row may not have it yet; null: the row has a stop. */
  readonly stop: RunStop | null
  readonly deliveredAt: Date
}

const HEARD = rowSet<HeardStop>({
  tenant_id: ['text', ({ lease }) => lease.tenantId],
  run_id: ['uuid', ({ lease }) => lease.runId],
  worker_id: ['uuid', ({ lease }) => lease.workerId],
  lease_token: ['int', ({ lease }) => lease.leaseToken],
  stop: ['jsonb', ({ stop }) => stop && JSON.stringify(stop)],
  delivered: ['jsonb', ({ deliveredAt }) => JSON.stringify({ deliveredAt: deliveredAt.toISOString() })],
})

const HELD = `select a.ctid as address, a.stop is null as unmarked from concordat.runs a
      where a.tenant_id = x.tenant_id and a.run_id = x.run_id and a.worker_id = x.worker_id
        and a.lease_token = x.lease_token limit 1`

const LOCK = statement(
  'runs_heard_stops_lock',
  `select from ${HEARD.from(1)} as x cross join lateral (${HELD} for no key update) a`,
)

const NOTED = jsonTextSql({ by: `stop->'by'`, as: `stop->'as'`, why: `stop->'why'`, kind: `stop->'kind'` })

/* After the lock, so that it sees what whoever goes through the order has marked meanwhile. */
const NOTE = statement(
  'runs_heard_stops_note',
  `with heard as (
     select x.*, a.address, a.unmarked from ${HEARD.from(1)} as x cross join lateral (${HELD}) a
      where x.stop is not null or not a.unmarked
   ),
   noted as (
     update concordat.runs r set stop = coalesce(r.stop, h.stop) || h.delivered
       from heard h where r.ctid = h.address
     returning r.tenant_id, r.run_id, r.stop, h.unmarked
   ),
   stopped as (select * from noted where unmarked),
   event as (${announceOf(`(stop->>'requestedAt')`, NOTED)})
   select`,
)

/** Notes which stops were heard, and marks the runs that an order stops and that are not marked yet. Lost leases are left out. */
export async function noteHeardStops(tx: Tx, heard: readonly HeardStop[]): Promise<void> {
  const inOrder = heard.toSorted((a, b) => (a.lease.runId < b.lease.runId ? -1 : 1))
  const values = HEARD.values(inOrder)
  await Promise.all([tx.query(LOCK, values), tx.query(NOTE, values)])
}
