import type { Gauge, Metrics } from '../../foundation/metrics.ts'
import { type Database, statement } from '../../foundation/storage/storage.ts'
import type { Held } from './places.ts'
import { useIndexes } from './turn-store.ts'

/** Rows that are counted in a partition: what is beyond is as alarming, and would be read in full each time. */
const ROWS_COUNTED_MAX = 10_000

const BACKLOG = statement(
  'relay_backlog',
  `select coalesce(sum(o.event_count), 0)::int as events,
          coalesce(extract(epoch from clock_timestamp() - min(o.created_at)), 0)::float8 as "oldestSeconds"
     from unnest($1::smallint[], $2::bigint[]) as held (partition, floor)
    cross join lateral (
      select event_count, created_at from concordat.outbox o
       where o.partition = held.partition and o.outbox_id > held.floor and o.published_at is null
       order by o.outbox_id limit $3
    ) o`,
)

/** Measures what waits in the partitions that are held: over all processes, sum the events and take the oldest. */
export async function measureBacklog(database: Database, held: Held, gauges: BacklogGauges): Promise<void> {
  const places = [...held.values()]
  const partitions = places.map((place) => place.partition)
  // What is in flight is not published either, and may be below the floor.
  const floors = places.map(({ inFlight: [first], floor }) =>
    first !== undefined && first <= floor ? first - 1n : floor,
  )
  const [backlog] = await database.transaction(async (tx) => {
    const [, rows] = await Promise.all([
      useIndexes(tx),
      tx.query<{ events: number; oldestSeconds: number }>(BACKLOG, [partitions, floors, ROWS_COUNTED_MAX]),
    ])
    return rows
  })
  gauges.backlog.set({}, backlog?.events ?? 0)
  gauges.oldestSeconds.set({}, backlog?.oldestSeconds ?? 0)
}

export interface BacklogGauges {
  readonly backlog: Gauge<Record<never, string>>
  readonly oldestSeconds: Gauge<Record<never, string>>
}

export function backlogGauges(metrics: Metrics): BacklogGauges {
  return {
    backlog: metrics.gauge('concordat_outbox_backlog'),
    oldestSeconds: metrics.gauge('concordat_outbox_oldest_seconds'),
  }
}
