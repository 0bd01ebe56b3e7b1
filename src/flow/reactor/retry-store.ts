import { EventEnvelope } from '../../foundation/events/events.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'

/** An event that a handler gets again, or that waits for an earlier one of its run. */
export interface Retry {
  readonly handler: string
  readonly event: EventEnvelope
  /** Deliveries that failed. */
  readonly attempts: number
  /** JSON of the last failure; null where it only waits. */
  readonly cause: string | null
}

interface NewRetry extends Retry {
  readonly group: string
  readonly delayMs: number
}

const RETRIES = rowSet<NewRetry>({
  reactor_group: ['text', (retry) => retry.group],
  handler: ['text', (retry) => retry.handler],
  partition: ['smallint', (retry) => retry.event.partition],
  position: ['bigint', (retry) => retry.event.position],
  tenant_id: ['text', (retry) => retry.event.tenantId],
  run_id: ['uuid', (retry) => retry.event.runId],
  attempts: ['smallint', (retry) => retry.attempts],
  delay_ms: ['int', (retry) => retry.delayMs],
  cause: ['json', (retry) => retry.cause],
  event: ['json', (retry) => JSON.stringify(retry.event)],
})

const INSERT = statement(
  'reactor_retries_insert',
  `insert into concordat.reactor_retries
     (reactor_group, handler, partition, position, tenant_id, run_id, attempts, due_at, cause, event)
   select reactor_group, handler, partition, position, tenant_id, run_id, attempts,
          clock_timestamp() + delay_ms * interval '1 millisecond', cause, event
     from ${RETRIES.from(1)} as retry`,
)

export async function insertRetries(tx: Tx, group: string, retries: readonly (Retry & { delayMs: number })[]) {
  if (retries.length > 0) await tx.query(INSERT, RETRIES.values(retries.map((retry) => ({ ...retry, group }))))
}

const READ = statement(
  'reactor_retries_read',
  `select handler, attempts, cause, event, greatest(0, extract(epoch from due_at - clock_timestamp()) * 1000)::float8 as "delayMs"
     from concordat.reactor_retries
    where reactor_group = $1 and handler = any ($2::text[]) and partition = any ($3::smallint[])
    order by handler, partition, position`,
)

/** What waits for these handlers in these partitions, in order. */
export async function readRetries(
  tx: Tx,
  group: string,
  handlers: readonly string[],
  partitions: readonly number[],
): Promise<(Retry & { readonly delayMs: number })[]> {
  const rows = await tx.query<Omit<Retry, 'event'> & { event: string; delayMs: number }>(READ, [
    group,
    handlers,
    partitions,
  ])
  return rows.map((row) => ({ ...row, event: EventEnvelope.parse(row.event) }))
}

const KEY = `reactor_group = $1 and handler = $2 and partition = $3 and position = $4 and attempts = $5`

const POSTPONE = statement(
  'reactor_retry_postpone',
  `with changed as (
     update concordat.reactor_retries
        set attempts = attempts + 1, cause = $6, due_at = clock_timestamp() + $7 * interval '1 millisecond'
      where ${KEY} returning 1
   )
   select concordat.require_rows((select count(*) from changed), 1, 'retries')`,
)

const DELETE = statement(
  'reactor_retry_delete',
  `with changed as (delete from concordat.reactor_retries where ${KEY} returning 1)
   select concordat.require_rows((select count(*) from changed), 1, 'retries')`,
)

const keyOf = (group: string, { handler, event, attempts }: Retry) => [
  group,
  handler,
  event.partition,
  event.position,
  attempts,
]

/** One more failure. Fails, and the transaction with it, when another reactor has dealt with it (`isStale`). */
export async function postponeRetry(tx: Tx, group: string, retry: Retry, cause: string, delayMs: number) {
  await tx.query(POSTPONE, [...keyOf(group, retry), cause, delayMs])
}

/** It is done. Fails, and the transaction with it, when another reactor has dealt with it (`isStale`). */
export async function deleteRetry(tx: Tx, group: string, retry: Retry): Promise<void> {
  await tx.query(DELETE, keyOf(group, retry))
}
