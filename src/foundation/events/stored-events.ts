import { statement, type Tx } from '../storage/storage.ts'
import type { RunEvent } from './outbox.ts'
import { readEvents } from './unpack.ts'

/** An event of a run with where it stands: its position is null until it is published. */
export interface StoredEvent extends RunEvent {
  readonly partition: number
  readonly position: number | null
  readonly publishedAt: Date | null
}

const SELECT = statement(
  'outbox_of_run',
  `select partition, position, published_at as "publishedAt", events
     from concordat.outbox where tenant_id = $1 and run_id = $2 order by outbox_id`,
)

/**
 * SQL of the rows that wait to be published, in parentheses: not all of the outbox is looked at, but what is above each
 * partition's floor, and what the relay has in its hands.
 */
export const UNPUBLISHED_SQL = `(
  select o.* from concordat.relay_partitions p
   cross join lateral (
     select * from concordat.outbox o
      where o.partition = p.partition and o.outbox_id > least(p.floor, p.in_flight[1] - 1) and o.published_at is null
   ) o)`

/** A run's events in order, as far as the outbox still keeps them. */
export async function eventsOfRun(
  tx: Tx,
  { tenantId, runId }: { readonly tenantId: string; readonly runId: string },
): Promise<StoredEvent[]> {
  const rows = await tx.query<{ partition: number; position: bigint | null; publishedAt: Date | null; events: string }>(
    SELECT,
    [tenantId, runId],
  )
  return rows.flatMap(({ partition, position, publishedAt, events }) => {
    return readEvents(events).map((event, index) => {
      return { ...event, partition, position: position === null ? null : Number(position) + index, publishedAt }
    })
  })
}
