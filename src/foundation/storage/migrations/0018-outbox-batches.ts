/*
 * A row of the outbox is marked once, soon after it was written. With its position in no index, and room beside it in its
 * page, the mark is a change of that page alone: it took a new place in the table, an entry in each index and the row's
 * width in the log. Positions are found by what a turn of the relay has published of a partition, a row for many.
 */
export const UP: readonly string[] = [
  `create table concordat.relay_batches (
    partition       smallint not null,
    position        bigint not null,
    event_count     integer not null,
    first_outbox_id bigint not null,
    last_outbox_id  bigint not null,
    published_at    timestamptz not null default clock_timestamp(),
    primary key (partition, position)
  )`,
  `insert into concordat.relay_batches
   select partition, min(position), sum(event_count), min(outbox_id), max(outbox_id), max(published_at)
     from concordat.outbox where position is not null group by partition, position / 500`,
  'drop index concordat.outbox_unpublished',
  'drop index concordat.outbox_positions',
  'create index outbox_order on concordat.outbox (partition, outbox_id)',
  'alter table concordat.outbox set (fillfactor = 50)',
  'alter table concordat.relay_partitions add column floor bigint not null default 0',
]
