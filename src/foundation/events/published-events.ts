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

/** Where the events end that were published before a time. */
export async function positionsBefore(tx: Tx, since: Date): Promise<Positions> {
  const rows = await tx.query<{ partition: number; last: bigint }>(
    `select p.partition,
            coalesce((select min(b.position) from concordat.relay_batches b
                       where b.partition = p.partition and b.published_at >= $1), p.next_position) - 1 as last
       from concordat.relay_partitions p`,
    [since],
  )
  return new Map(rows.map((row) => [row.partition, Number(row.last)]))
}

/*
 * The batch that a reader is in, or the next one there is, and as many after it as hold what it asks for; the rows of
 * each in order, without those between them that were published at other times. Not a named statement: a plan that was
 * made while the outbox was small would read it whole when it is large. For a reader that is far behind, the bound on
 * positions keeps a plan that sorts from sorting all that it has before it.
 */
const READ = `
  select o.tenant_id, o.run_id, o.partition, o.event_count, o.events, o.position
    from unnest($1::smallint[], $2::bigint[]) as reader (partition, last)
   cross join lateral (
     select coalesce(
       (select c.position from concordat.relay_batches c
         where c.partition = reader.partition and c.position + c.event_count - 1 > reader.last
           and c.position = (select max(d.position) from concordat.relay_batches d
                              where d.partition = reader.partition and d.position <= reader.last)),
       (select min(c.position) from concordat.relay_batches c
         where c.partition = reader.partition and c.position > reader.last)) as position
   ) start
   cross join lateral (
     select o.* from (
       select b.*, sum(b.event_count) over (order by b.position) - b.event_count as events_before
         from concordat.relay_batches b
        where b.partition = reader.partition
          and b.position >= start.position and b.position < start.position + $3 * ${EVENTS_PER_ENTRY_MAX}
     ) b
      cross join lateral (
        select * from concordat.outbox o
         where o.partition = b.partition and o.outbox_id between b.first_outbox_id and b.last_outbox_id
           and o.position >= b.position and o.position < b.position + b.event_count
           and o.position + o.event_count - 1 > reader.last
      ) o
      where b.events_before < $3
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
