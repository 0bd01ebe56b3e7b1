import type { Tx } from '../storage/storage.ts'
import type { EventEnvelope } from './envelope.ts'
import { EVENTS_PER_ENTRY_MAX } from './outbox.ts'
import { envelopesOf, type HearMalformed, type OutboxRow } from './unpack.ts'

/** The position of the last event that a reader has, per partition. */
export type Positions = ReadonlyMap<number, number>

/** Where the published events end now. */
export async function positionsNow(tx: Tx): Promise<Positions> {
  const rows = await tx.query<{ partition: number; last: bigint }>(
    'select partition, next_position - 1 as last from concordat.relay_partitions',
  )
  return new Map(rows.map((row) => [row.partition, Number(row.last)]))
}

/*
 * A row is found by the position of its first event, so one that began just before may still hold events to come.
 * Not a named statement: a plan that was made while the outbox was small would read it whole when it is large.
 */
const READ = `
  select o.tenant_id, o.run_id, o.partition, o.event_count, o.events, o.position
    from unnest($1::smallint[], $2::bigint[]) as reader (partition, last)
   cross join lateral (
     select * from concordat.outbox o
      where o.partition = reader.partition
        and o.position > reader.last - ${EVENTS_PER_ENTRY_MAX}
        and o.position + o.event_count - 1 > reader.last
      order by o.position limit $3
   ) o`

/**
 * The next published events after these positions, in order within a partition; at most `rowsMax` rows of each. What is
 * no event is not among them: its position is empty.
 */
export async function readPublished(
  tx: Tx,
  after: Positions,
  rowsMax: number,
  malformed?: HearMalformed,
): Promise<EventEnvelope[]> {
  const rows = await tx.query<OutboxRow & { position: bigint }>(READ, [[...after.keys()], [...after.values()], rowsMax])
  return rows
    .flatMap((row) => envelopesOf(row, Number(row.position), malformed))
    .filter((event) => event.position > (after.get(event.partition) ?? 0))
}

/**
 * Up to which position the relay has given places away: published events, and those that it is about to publish. An
 * upper bound, since what is in flight is known by rows.
 */
export async function positionsGiven(tx: Tx): Promise<Positions> {
  const rows = await tx.query<{ partition: number; last: bigint }>(
    `select partition, next_position - 1 + ${EVENTS_PER_ENTRY_MAX} * cardinality(in_flight) as last
       from concordat.relay_partitions`,
  )
  return new Map(rows.map((row) => [row.partition, Number(row.last)]))
}
