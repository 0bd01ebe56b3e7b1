import type { OutboxRow } from '../../foundation/events/events.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Horizon } from './scan-floor.ts'

/** An outbox row that is to be published. */
export interface ChosenRow extends OutboxRow {
  readonly outbox_id: bigint
  readonly event_count: number
  /** Where the row is in the table: good for as long as nothing rewrites it. */
  readonly ctid: string
  readonly is_marked: boolean
}

/** A chosen row with the position of its first event. */
export interface PlacedRow extends ChosenRow {
  readonly position: number
}

/** What the row of a partition says about the events to come. */
export interface Place {
  readonly partition: number
  readonly leaseToken: number
  readonly nextPosition: number
  readonly inFlight: readonly bigint[]
  /** No row up to this outbox_id can be unpublished, those in flight apart. */
  readonly floor: bigint
}

/*
 * The outbox grows from empty to millions of rows between two ANALYZEs, and a plan that was made for a small table, or
 * for one with nothing to publish, reads all of it later. These settings leave the one kind of plan that reads no more
 * than it needs, whatever the statistics say: by an index in its order, or by address.
 */
const USE_INDEXES = statement('relay_use_indexes', planSettings({ indexscan: 'on' }))
const USE_ADDRESSES = statement('relay_use_addresses', planSettings({ indexscan: 'off' }))

function planSettings({ indexscan }: { readonly indexscan: 'on' | 'off' }): string {
  const others = ['seqscan', 'bitmapscan', 'indexonlyscan', 'hashjoin', 'mergejoin', 'sort']
  const settings = [`set_config('enable_indexscan', '${indexscan}', true)`]
  return `select ${[...settings, ...others.map((plan) => `set_config('enable_${plan}', 'off', true)`)].join(', ')}`
}

/** For the statements of this transaction that follow. */
export async function useIndexes(tx: Tx): Promise<void> {
  await tx.query(USE_INDEXES)
}

const MARKS = rowSet<PlacedRow>({
  address: ['tid', (row) => row.ctid],
  outbox_id: ['bigint', (row) => row.outbox_id],
  position: ['bigint', (row) => row.position],
})

/*
 * No join, whose order a planner with old statistics gets wrong: rows are fetched by their address, and their positions
 * by binary search in the sorted ids. The ids also tell whether a row is still the one that was at the address.
 */
const MARK = statement(
  'relay_mark',
  `with marked as (
     update concordat.outbox o
        set position = ($3::bigint[])[width_bucket(o.outbox_id, $2::bigint[])], published_at = clock_timestamp()
      where o.ctid = any ($1::tid[])
        and o.outbox_id = ($2::bigint[])[width_bucket(o.outbox_id, $2::bigint[])]
        and o.published_at is null
     returning 1
   )
   select count(*)::int as rows from marked`,
)

/** The rows of a partition that are marked together: one row to find them by any position of theirs. */
interface Batch {
  readonly partition: number
  readonly first: PlacedRow
  readonly last: PlacedRow
}

const BATCHES = rowSet<Batch>({
  partition: ['smallint', ({ partition }) => partition],
  position: ['bigint', ({ first }) => first.position],
  event_count: ['int', ({ first, last }) => last.position + last.event_count - first.position],
  first_outbox_id: ['bigint', ({ first }) => first.outbox_id],
  last_outbox_id: ['bigint', ({ last }) => last.outbox_id],
})

// The holder before may have stored the same one with its marks.
const STORE_BATCHES = statement(
  'relay_store_batches',
  `insert into concordat.relay_batches (${BATCHES.names}) select * from ${BATCHES.from(1)} as x on conflict do nothing`,
)

function batchesOf(rows: readonly PlacedRow[]): Batch[] {
  return [...Map.groupBy(rows, (row) => row.partition)].flatMap(([partition, own]) => {
    const [first, last] = [own[0], own.at(-1)]
    return first && last ? [{ partition, first, last }] : []
  })
}

/**
 * Marks rows as published. False when some are no longer where they were found: the marks must not be kept then. What
 * follows needs `useIndexes` again.
 */
export async function markPublished(tx: Tx, rows: readonly PlacedRow[]): Promise<boolean> {
  const unmarked = rows.filter((row) => !row.is_marked).toSorted((a, b) => (a.outbox_id < b.outbox_id ? -1 : 1))
  if (unmarked.length === 0) return true
  const [, [marked]] = await Promise.all([
    tx.query(USE_ADDRESSES),
    tx.query<{ rows: number }>(MARK, MARKS.values(unmarked)),
    tx.query(STORE_BATCHES, BATCHES.values(batchesOf(rows))),
  ])
  return marked?.rows === unmarked.length
}

const FLOORS = rowSet<readonly [partition: number, floor: bigint]>({
  partition: ['smallint', ([partition]) => partition],
  floor: ['bigint', ([, floor]) => floor],
})

const CHOOSE = statement(
  'relay_choose',
  `select o.tenant_id, o.run_id, o.partition, o.outbox_id, o.event_count, o.events, o.ctid, false as is_marked
     from ${FLOORS.from(1)} as held
    cross join lateral (
      select o.ctid, o.* from concordat.outbox o
       where o.partition = held.partition and o.outbox_id > held.floor and o.published_at is null
       order by o.outbox_id limit $3
    ) o`,
)

/** The first unpublished rows above each partition's floor. */
export function chooseRows(tx: Tx, floors: ReadonlyMap<number, bigint>, rowsEach: number): Promise<ChosenRow[]> {
  if (floors.size === 0) return Promise.resolve([])
  return tx.query<ChosenRow>(CHOOSE, [...FLOORS.values([...floors]), rowsEach])
}

// The holder before may have marked them in its last moment.
const FIND = statement(
  'relay_find',
  `select tenant_id, run_id, partition, outbox_id, event_count, events, ctid, published_at is not null as is_marked
     from concordat.outbox
    where partition = $1 and outbox_id = any ($2::bigint[]) and (published_at is null or position >= $3)`,
)

/** The rows that are in flight in a partition. */
export function findInFlight(tx: Tx, { partition, inFlight, nextPosition }: Place): Promise<ChosenRow[]> {
  return tx.query<ChosenRow>(FIND, [partition, inFlight, nextPosition])
}

const PLACES = rowSet<Place>({
  partition: ['smallint', (place) => place.partition],
  lease_token: ['int', (place) => place.leaseToken],
  next_position: ['bigint', (place) => place.nextPosition],
  in_flight: ['text', (place) => `{${place.inFlight.join(',')}}`],
  floor: ['bigint', (place) => place.floor],
})

const STORE = statement(
  'relay_store_places',
  `update concordat.relay_partitions p
      set next_position = place.next_position, in_flight = place.in_flight::bigint[], floor = place.floor
     from ${PLACES.from(1)} as place
    where p.partition = place.partition and p.lease_token = place.lease_token
   returning p.partition`,
)

/** Returns the partitions whose lease still has the token; the others stay as their new holders want them. */
export async function storePlaces(tx: Tx, places: readonly Place[]): Promise<ReadonlySet<number>> {
  const rows = await tx.query<{ partition: number }>(STORE, PLACES.values(places))
  return new Set(rows.map((row) => row.partition))
}

// The id is given out after the sequence was read: first the row, then what is computed of it.
const HORIZON = statement(
  'relay_horizon',
  `select case when is_called then last_value else 0 end as drawn,
          pg_snapshot_xmin(pg_current_snapshot())::text as xmin,
          case when is_called and last_value > $1 then pg_current_xact_id()::text end as xid
     from concordat.outbox_outbox_id_seq`,
)

export async function readHorizon(tx: Tx, asksBeyond: bigint): Promise<Horizon> {
  const [row] = await tx.query<{ drawn: bigint; xmin: string; xid: string | null }>(HORIZON, [asksBeyond])
  const { drawn, xmin, xid } = row ?? { drawn: 0n, xmin: '0', xid: null }
  return { drawn, xmin: BigInt(xmin), xid: xid === null ? null : BigInt(xid) }
}
