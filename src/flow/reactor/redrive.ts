import { AppError } from '../../foundation/app-error.ts'
import { type Database, statement, type Tx } from '../../foundation/storage/storage.ts'
import { DEFAULT_GROUP } from './event-reactor.ts'

const NAMED_MAX = 20

export interface RedriveTarget {
  readonly group?: string
  /** One handler; all of the group unless given. */
  readonly handler?: string | undefined
}

export interface RedriveEvents extends RedriveTarget {
  /** Events that were published at this time or later, or those from a position on, in one partition or in all. */
  readonly from: { readonly since: Date } | { readonly position: number; readonly partition?: number | undefined }
}

/** A handler that gets the events after `to` again, up to and with `from`. */
export interface Redriven {
  readonly handler: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

/*
 * Only backwards, and no further than to the oldest event that is kept. What was set aside after that comes again by
 * itself, so that its rows go.
 */
const TURN_BACK = statement(
  'reactor_turn_back',
  `with target as (
     select p.partition,
            greatest(
              coalesce((select b.position - 1 from concordat.relay_batches b
                         where b.partition = p.partition order by b.position limit 1), 0),
              case when $3::timestamptz is null then $4::bigint - 1
                   else coalesce((select min(b.position) from concordat.relay_batches b
                                   where b.partition = p.partition and b.published_at >= $3), p.next_position) - 1
              end
            ) as position
       from concordat.relay_partitions p
      where $5::int is null or p.partition = $5
   ), old as (
     select c.*, target.position as target from concordat.reactor_checkpoints c
       join target on target.partition = c.partition and target.position < c.position
      where c.reactor_group = $1 and ($2::text is null or c.handler = $2)
        for update of c
   ), turned as (
     update concordat.reactor_checkpoints c set position = old.target from old
      where c.reactor_group = old.reactor_group and c.handler = old.handler and c.partition = old.partition
   ), gone as (
     delete from concordat.reactor_retries r using old
      where r.reactor_group = old.reactor_group and r.handler = old.handler and r.partition = old.partition
        and r.position > old.target
   )
   select handler, partition, position as "from", target as "to" from old order by handler, partition`,
)

// Whoever holds a partition finds its lease lost, and whoever takes it reads where its handlers stand.
const TAKE_AWAY = statement(
  'reactor_take_away',
  `update concordat.reactor_partitions set lease_token = lease_token + 1, owner = null, expires_at = null
    where reactor_group = $1 and partition = any ($2::smallint[])`,
)

/** Makes handlers get events again that they have had; running reactors begin within a few seconds. Fails with `UNKNOWN_HANDLER`. */
export function redriveEvents(database: Database, request: RedriveEvents): Promise<Redriven[]> {
  const { group = DEFAULT_GROUP, handler = null, from } = request
  const where = 'since' in from ? [from.since, null, null] : [null, from.position, from.partition ?? null]
  return database.transaction(async (tx) => {
    if (handler !== null) await requireHandler(tx, group, handler)
    const rows = await tx.query<Omit<Redriven, 'from' | 'to'> & { from: bigint; to: bigint }>(TURN_BACK, [
      group,
      handler,
      ...where,
    ])
    await takeAway(
      tx,
      group,
      rows.map((row) => row.partition),
    )
    return rows.map((row) => ({ ...row, from: Number(row.from), to: Number(row.to) }))
  })
}

const REVIVE = statement(
  'dead_letters_revive',
  `with revived as (
     delete from concordat.dead_letters where reactor_group = $1 and handler is not null and ($2::text is null or handler = $2)
     returning *
   )
   insert into concordat.reactor_retries (reactor_group, handler, partition, position, tenant_id, run_id, event)
   select reactor_group, handler, partition, position, tenant_id, run_id, envelope::json from revived
   on conflict do nothing
   returning handler, partition`,
)

/** Gives handlers the events back that they have failed on for good. Returns how many of each handler. Fails with `UNKNOWN_HANDLER`. */
export function redriveDeadLetters(
  database: Database,
  { group = DEFAULT_GROUP, handler }: RedriveTarget,
): Promise<{ handler: string; events: number }[]> {
  return database.transaction(async (tx) => {
    if (handler !== undefined) await requireHandler(tx, group, handler)
    const rows = await tx.query<{ handler: string; partition: number }>(REVIVE, [group, handler ?? null])
    await takeAway(
      tx,
      group,
      rows.map((row) => row.partition),
    )
    return [...Map.groupBy(rows, (row) => row.handler)].map(([name, own]) => ({ handler: name, events: own.length }))
  })
}

const KNOWN = statement(
  'reactor_handlers_known',
  `select handler from concordat.reactor_checkpoints where reactor_group = $1
    union select handler from concordat.dead_letters where reactor_group = $1 and handler is not null
    order by 1`,
)

/** A name that no reactor has had would be given nothing, and nobody would be told. */
async function requireHandler(tx: Tx, group: string, handler: string): Promise<void> {
  const rows = await tx.query<{ handler: string }>(KNOWN, [group])
  if (rows.some((row) => row.handler === handler)) return
  const known =
    rows.length === 0
      ? 'it has had none'
      : `it has had ${rows
          .slice(0, NAMED_MAX)
          .map((row) => row.handler)
          .join(', ')}`
  throw new AppError(
    'UNKNOWN_HANDLER',
    `no reactor of group ${JSON.stringify(group)} has had a handler ${JSON.stringify(handler)}; ${known}`,
  )
}

async function takeAway(tx: Tx, group: string, partitions: readonly number[]): Promise<void> {
  if (partitions.length > 0) await tx.query(TAKE_AWAY, [group, [...new Set(partitions)]])
}
