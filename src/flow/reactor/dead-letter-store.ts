import type { EventEnvelope } from '../../foundation/events/events.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

const INSERT = statement(
  'dead_letters_insert',
  `insert into concordat.dead_letters
     (tenant_id, run_id, reactor_group, handler, partition, position, attempts, cause, envelope)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
)

export interface DeadEvent {
  readonly handler: string
  readonly event: EventEnvelope
  readonly attempts: number
  /** JSON of the last failure. */
  readonly cause: string
}

/** Keeps an event that a handler has failed on for good. */
export async function insertDeadEvent(tx: Tx, group: string, dead: DeadEvent): Promise<void> {
  const { handler, event, attempts, cause } = dead
  const { tenantId, runId, partition, position } = event
  const envelope = JSON.stringify(event)
  await tx.query(INSERT, [tenantId, runId, group, handler, partition, position, attempts, cause, envelope])
}

/** A message that is no event, cut to what is kept of it, and JSON of why. */
export interface DeadMessage {
  readonly cause: string
  readonly envelope: string
}

const MESSAGES = rowSet<DeadMessage>({
  cause: ['json', (dead) => dead.cause],
  envelope: ['text', (dead) => dead.envelope],
})

const INSERT_MESSAGES = statement(
  'dead_messages_insert',
  `insert into concordat.dead_letters (reactor_group, attempts, ${MESSAGES.names})
   select $1, 0, x.* from ${MESSAGES.from(2)} as x`,
)

/** Keeps messages that are no events. */
export async function insertDeadMessages(tx: Tx, group: string, messages: readonly DeadMessage[]): Promise<void> {
  await tx.query(INSERT_MESSAGES, [group, ...MESSAGES.values(messages)])
}

const PRUNE = statement(
  'dead_letters_prune',
  `delete from concordat.dead_letters
    where ctid = any (array(select ctid from concordat.dead_letters order by dead_letter_id limit $2))
      and created_at < clock_timestamp() - $1::bigint * interval '1 millisecond'
   returning 1 as gone`,
)

/** Deletes dead letters that are older than this, the oldest first; returns how many, 0 when nothing old is left. */
export async function pruneDeadLetters(tx: Tx, retentionMs: number): Promise<number> {
  return (await tx.query(PRUNE, [retentionMs, limits.deadLetterPruneMax])).length
}
