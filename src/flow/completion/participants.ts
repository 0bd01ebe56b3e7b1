import type { RunKey, RunOutcome } from '../../domains/runs/runs.ts'
import type { Json } from '../../foundation/json.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'

/** What a participant learns of the run that ends. */
export interface EndingRun extends RunKey {
  readonly agent: string
  readonly status: RunOutcome
  readonly reason: string
}

/** Names one try of an external operation, in its action and in its compensation. */
export interface ParticipantIntent extends RunKey {
  readonly participant: string
  readonly attempt: number
  /** The same for the action and its compensation: `runId:participant:attempt`. */
  readonly idempotencyKey: string
}

/**
 * A user's own write in a run's completion. `write` runs inside the same transaction, under a statement timeout; it
 * must not call the network. An operation elsewhere goes into `act`, which runs before the transaction opens, with an
 * intent row stored first, and is undone by `compensate` when the run does not commit.
 *
 * @example
 * const ledger: Participant = {
 *   name: 'ledger',
 *   write: async (tx, run) => void (await tx.query('insert into my.ledger (run_id) values ($1)', [run.runId])),
 * }
 */
export interface Participant {
  readonly name: string
  readonly timeoutMs?: number
  readonly write?: (tx: Tx, run: EndingRun) => Promise<void>
  readonly act?: (run: EndingRun, intent: ParticipantIntent, signal: AbortSignal) => Promise<Json>
  /** Idempotent; `detail` is what `act` returned, null when it never did. Runs at least once. */
  readonly compensate?: (intent: ParticipantIntent, detail: Json) => Promise<void>
}

const INTEND = statement(
  'participant_intents_insert',
  `insert into concordat.participant_intents (tenant_id, run_id, attempt, participant, state, due_at)
   select $1, $2, coalesce(max(attempt), 0) + 1, $3, 'intended', clock_timestamp() + $4::int * interval '1 ms'
     from concordat.participant_intents where tenant_id = $1 and run_id = $2 and participant = $3
   returning attempt`,
)

/** Stores what is about to be done elsewhere, as the next try of this participant for this run. */
export async function intend(tx: Tx, run: RunKey, participant: string, dueInMs: number): Promise<ParticipantIntent> {
  const [row] = await tx.query<{ attempt: number }>(INTEND, [run.tenantId, run.runId, participant, dueInMs])
  return intentOf(run, participant, row?.attempt ?? 1)
}

/** Keeps what the action returned, so that a compensation after a crash knows it. */
export async function keepDetail(tx: Tx, intent: ParticipantIntent, detail: string): Promise<void> {
  await tx.query(
    `update concordat.participant_intents set detail = $5
      where tenant_id = $1 and run_id = $2 and attempt = $3 and participant = $4`,
    [intent.tenantId, intent.runId, intent.attempt, intent.participant, detail],
  )
}

/** In the completion's transaction: what was done elsewhere stands. False when the sweep has begun to undo it. */
export async function settle(tx: Tx, intent: ParticipantIntent): Promise<boolean> {
  const rows = await tx.query(
    `update concordat.participant_intents set state = 'settled'
      where tenant_id = $1 and run_id = $2 and attempt = $3 and participant = $4 and state = 'intended' returning attempt`,
    [intent.tenantId, intent.runId, intent.attempt, intent.participant],
  )
  return rows.length > 0
}

/** From here on the completion can no longer commit. False when it has: then nothing is to be undone. */
export async function beginCompensation(tx: Tx, intent: ParticipantIntent): Promise<boolean> {
  const rows = await tx.query(
    `update concordat.participant_intents set state = 'compensating'
      where tenant_id = $1 and run_id = $2 and attempt = $3 and participant = $4
        and state in ('intended', 'compensating') returning attempt`,
    [intent.tenantId, intent.runId, intent.attempt, intent.participant],
  )
  return rows.length > 0
}

export async function compensated(tx: Tx, intent: ParticipantIntent): Promise<void> {
  await tx.query(
    `update concordat.participant_intents set state = 'compensated'
      where tenant_id = $1 and run_id = $2 and attempt = $3 and participant = $4`,
    [intent.tenantId, intent.runId, intent.attempt, intent.participant],
  )
}

const TAKE_DUE = statement(
  'participant_intents_take_due',
  `update concordat.participant_intents i
      set state = 'compensating', due_at = clock_timestamp() + $2::int * interval '1 ms'
     from (select tenant_id, run_id, attempt, participant from concordat.participant_intents
            where state in ('intended', 'compensating') and due_at <= statement_timestamp()
            order by due_at limit $1 for update skip locked) due
    where (i.tenant_id, i.run_id, i.attempt, i.participant) = (due.tenant_id, due.run_id, due.attempt, due.participant)
   returning i.tenant_id, i.run_id, i.attempt, i.participant, i.detail`,
)

export interface DueIntent {
  readonly intent: ParticipantIntent
  readonly detail: string | null
}

/** Takes intents whose completion never settled them. From here on that completion can no longer commit. */
export async function takeDueIntents(tx: Tx, batchMax: number, retryInMs: number): Promise<DueIntent[]> {
  const rows = await tx.query<{
    tenant_id: string
    run_id: string
    attempt: number
    participant: string
    detail: string | null
  }>(TAKE_DUE, [batchMax, retryInMs])
  return rows.map((row) => {
    return {
      intent: intentOf({ tenantId: row.tenant_id, runId: row.run_id }, row.participant, row.attempt),
      detail: row.detail,
    }
  })
}

function intentOf({ tenantId, runId }: RunKey, participant: string, attempt: number): ParticipantIntent {
  return { tenantId, runId, participant, attempt, idempotencyKey: `${runId}:${participant}:${attempt}` }
}
