import { limits } from '../../limits.ts'
import { AppError } from '../app-error.ts'
import { firstIdAt, partitionOf, type RunId } from '../ids.ts'
import type { Json } from '../json.ts'
import { type Database, rowSet, statement, type Tx } from '../storage/storage.ts'
import { type EventType, eventTypes } from './event-types.ts'

/** An event as a domain tells it; which run and tenant it belongs to is said by the entry that carries it. */
export interface RunEvent {
  /** UUIDv7. */
  readonly id: string
  readonly type: EventType
  /** When it happened, RFC 3339. */
  readonly time: string
  readonly data: Json
}

/** The events of one run in one commit: they share an outbox row. */
export interface OutboxEntry {
  readonly tenantId: string
  readonly runId: string
  readonly events: readonly RunEvent[]
}

/** So that the number of rows bounds how many positions they have. */
export const EVENTS_PER_ENTRY_MAX = 100
/** A quarter of the bytes that a message may have: a UTF-16 unit takes at most three. */
const ENTRY_CHARS_MAX = 262_144

/** Between the events of an entry: JSON text has no line feed of its own, so that they come apart unread. */
export const EVENT_SEPARATOR = ',\n'

const ENTRIES = rowSet<OutboxEntry>({
  tenant_id: ['text', (entry) => entry.tenantId],
  run_id: ['uuid', (entry) => entry.runId],
  partition: ['smallint', (entry) => partitionOf(entry.runId)],
  event_count: ['smallint', (entry) => entry.events.length],
  events: ['json', eventsText],
})

/*
 * The filter never filters. It gives the transaction its id before the first outbox_id is drawn: the relay tells by the
 * ids of transactions which outbox_ids can still appear.
 */
const APPEND = statement(
  'outbox_append',
  `insert into concordat.outbox (${ENTRIES.names})
   select entry.* from ${ENTRIES.from(1)} as entry
    where pg_current_xact_id() is not null`,
)

/** An event in SQL: expressions of text for its id, for the time, RFC 3339, and for the data, JSON. */
export interface EventSql {
  readonly id: string
  readonly type: EventType
  readonly time: string
  readonly data: string
}

const TYPE_DIGITS = Object.fromEntries(
  Object.keys(eventTypes).map((type, i) => [type, i.toString(16).padStart(3, '0')]),
) as Readonly<Record<EventType, string>>

/**
 * SQL of the id of an event that a run has once: the time of a UUIDv7 (SQL of its first 15 characters), the number of
 * the type, and what is random in the id of the run. A random id of its own costs ten times as much.
 */
export function eventIdSql(moment: string, type: EventType): string {
  return `${moment} || '${TYPE_DIGITS[type]}' || right(run_id::text, 18)`
}

/** The same in this process, for what a run tells of one moment. */
export function eventIdsAt(runId: RunId, at: Date): (type: EventType) => string {
  const moment = firstIdAt(at).slice(0, 15)
  const random = runId.slice(18)
  return (type) => `${moment}${TYPE_DIGITS[type]}${random}`
}

/** SQL of the text of a JSON object with these members: half the work of building it as a value and writing that out. */
export function jsonTextSql(members: Readonly<Record<string, string>>): string {
  const written = Object.entries(members).map(
    ([name, value]) => `'"${name}":' || coalesce(to_json(${value})::text, 'null')`,
  )
  return `'{' || ${written.join(` || ',' || `)} || '}'`
}

/**
 * SQL of the insert that puts these events of runs into the outbox; `source` is a table with their tenant_id and run_id.
 * Its transaction must have written before.
 */
export function appendEventsSql(source: string, events: readonly EventSql[]): string {
  const objects = events.map(({ id, type, time, data }) => {
    return `'{"id":"' || ${id} || '","type":"${type}","time":"' || ${time} || '","data":' || ${data} || '}'`
  })
  return `insert into concordat.outbox (tenant_id, run_id, partition, event_count, events)
    select tenant_id, run_id, ('x' || right(run_id::text, 1))::bit(4)::int, ${events.length}, ('[' || ${objects.join(` || E',\\n' || `)} || ']')::json
      from ${source}`
}

/**
 * Puts events into the outbox, in the order of the entries; the relay publishes them once the transaction is
 * committed. An entry has 1 to 100 events and at most 262,144 characters of JSON, else it fails with `INTERNAL`.
 */
export async function appendEvents(tx: Tx, entries: readonly OutboxEntry[]): Promise<void> {
  if (entries.length === 0) return
  await tx.query(APPEND, ENTRIES.values(entries))
}

function eventsText({ runId, events }: OutboxEntry): string {
  const text = `[${events.map(eventText).join(EVENT_SEPARATOR)}]`
  if (events.length === 0 || events.length > EVENTS_PER_ENTRY_MAX || text.length > ENTRY_CHARS_MAX) {
    throw new AppError('INTERNAL', `${events.length} events of ${text.length} characters at once for run ${runId}`)
  }
  return text
}

function eventText({ id, type, time, data }: RunEvent): string {
  return JSON.stringify({ id, type, time, data })
}

const PRUNE_BATCH_MAX = 5_000
/** How many times longer events are kept that a handler which is alive has not handled. */
const RETENTIONS_FOR_HANDLERS = 7

/*
 * The oldest batches first, partition by partition, and each whole. `ctid` names the row versions of this very
 * statement; a published row never gets another one.
 */
const PRUNE = `
  with old as (
    select b.* from generate_series(0, $3 - 1) as p (partition)
     cross join lateral (
       select b.ctid as address, b.*, sum(b.event_count) over (order by b.position) as events
         from (select ctid, * from concordat.relay_batches b where b.partition = p.partition order by b.position limit $2) b
     ) b
      left join lateral (
        select min(c.position) as position from concordat.reactor_checkpoints c
         where c.partition = p.partition and c.seen_at > clock_timestamp() - $1 * interval '1 millisecond'
     ) needed on true
     where (b.events <= $2 or b.events = b.event_count)
       and b.published_at < clock_timestamp() - $1 * interval '1 millisecond'
       and (needed.position is null or b.position + b.event_count - 1 <= needed.position
            or b.published_at < clock_timestamp() - $4 * $1 * interval '1 millisecond')
  ), forgotten as (
    delete from concordat.relay_batches where ctid = any (array(select address from old))
  )
  delete from concordat.outbox where ctid = any (array(
    select o.ctid from old cross join lateral (
      select o.ctid from concordat.outbox o
       where o.partition = old.partition and o.outbox_id between old.first_outbox_id and old.last_outbox_id
         and o.position >= old.position and o.position < old.position + old.event_count) o
  ))
  returning 1`

/**
 * Deletes events that were published longer ago than `retentionMs`, about 5,000 rows a call at the most. What an event handler
 * still needs that was alive within that time is kept up to seven times longer. Returns how many rows went; 0 means that
 * nothing more can go.
 */
export async function pruneOutbox(database: Database, retentionMs: number): Promise<number> {
  const rows = await database.query(PRUNE, [
    retentionMs,
    Math.floor(PRUNE_BATCH_MAX / limits.partitions),
    limits.partitions,
    RETENTIONS_FOR_HANDLERS,
  ])
  return rows.length
}
