import type { EncodedPayload } from '../../foundation/payload-codec.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'

/*
 * Signals and the steps that wait for them. All writes are made by somebody who holds the run's row locked: so a signal
 * either finds the wait, or the wait finds the signal.
 */

/** `kept`: for a step that does not wait yet. `refused`: it did not fit what the step waits for, which waits on. */
export type SignalState = 'kept' | 'delivered' | 'refused'

interface StepKey {
  readonly tenantId: string
  readonly runId: string
  readonly stepKey: string
}

/** A step that waits. */
export interface SignalWait extends StepKey {
  readonly name: string
  /** Which of the run's waits for that name it is, from 1. */
  readonly occurrence: number
  /** JSON Schema that the payload must fit, as text; null: anything. */
  readonly schema: string | null
  readonly dueAt: Date
}

export interface NewSignal {
  readonly tenantId: string
  readonly runId: string
  /** Its place in the order in which the run's signals came, from 1. */
  readonly number: number
  readonly signalId: string
  readonly name: string
  /** The step that gets it; null: it is kept. */
  readonly stepKey: string | null
  readonly by: string
  readonly payload: EncodedPayload
}

const INSERT = statement(
  'signals_insert',
  `insert into concordat.signals
     (tenant_id, run_id, number, signal_id, name, state, step_key, sent_by, received_at, payload_digest, payload_size, payload)
   values ($1, $2, $3, $4, $5, case when $6::text is null then 'kept' else 'delivered' end, $6, $7, clock_timestamp(), $8, $9, $10)`,
)

export async function insertSignal(tx: Tx, signal: NewSignal): Promise<void> {
  const { tenantId, runId, number, signalId, name, stepKey, by, payload } = signal
  const { digest, sizeBytes, text } = payload
  await tx.query(INSERT, [tenantId, runId, number, signalId, name, stepKey, by, digest, sizeBytes, text])
}

const EARLIER = statement(
  'signals_by_id',
  `select name, state, payload_digest as "payloadDigest" from concordat.signals
    where tenant_id = $1 and run_id = $2 and signal_id = $3`,
)

export interface EarlierSignal {
  readonly name: string
  readonly state: SignalState
  readonly payloadDigest: string
}

/** The run's signal of that id; null when there is none. */
export async function earlierSignal(
  tx: Tx,
  { tenantId, runId, signalId }: Pick<NewSignal, 'tenantId' | 'runId' | 'signalId'>,
): Promise<EarlierSignal | null> {
  const [row] = await tx.query<EarlierSignal>(EARLIER, [tenantId, runId, signalId])
  return row ?? null
}

const KEPT = statement(
  'signals_kept',
  `select count(*)::int as kept from concordat.signals where tenant_id = $1 and run_id = $2 and state = 'kept'`,
)

/** How many signals are kept for steps that don't wait yet. */
export async function keptSignals(tx: Tx, { tenantId, runId }: Pick<NewSignal, 'tenantId' | 'runId'>): Promise<number> {
  const [row] = await tx.query<{ kept: number }>(KEPT, [tenantId, runId])
  return row?.kept ?? 0
}

const DELIVERED = `select from concordat.signals s
        where s.tenant_id = w.tenant_id and s.run_id = w.run_id and s.step_key = w.step_key and s.state = 'delivered'`

const NEXT_WAIT = statement(
  'waits_next',
  `select w.step_key as "stepKey", w.schema from concordat.waits w
    where w.tenant_id = $1 and w.run_id = $2 and w.name = $3 and not w.timed_out and w.due_at > clock_timestamp()
      and not exists (${DELIVERED})
    order by w.occurrence limit 1`,
)

/** The first step that waits for a signal of that name and has none; null when none does. */
export async function nextWait(
  tx: Tx,
  { tenantId, runId, name }: Pick<NewSignal, 'tenantId' | 'runId' | 'name'>,
): Promise<Pick<SignalWait, 'stepKey' | 'schema'> | null> {
  const [row] = await tx.query<Pick<SignalWait, 'stepKey' | 'schema'>>(NEXT_WAIT, [tenantId, runId, name])
  return row ?? null
}

const OPEN_WAIT = statement(
  'waits_open',
  `insert into concordat.waits (tenant_id, run_id, step_key, name, occurrence, schema, due_at)
   values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
)

/** Says that a step waits. It may be said again. */
export async function openWait(tx: Tx, wait: SignalWait): Promise<void> {
  const { tenantId, runId, stepKey, name, occurrence, schema, dueAt } = wait
  await tx.query(OPEN_WAIT, [tenantId, runId, stepKey, name, occurrence, schema, dueAt.toISOString()])
}

const TAKE = statement(
  'signals_take',
  `with wait as (
     select * from concordat.waits where tenant_id = $1 and run_id = $2 and step_key = $3 and not timed_out
   )
   update concordat.signals s set state = 'delivered', step_key = $3
     from wait
    where s.tenant_id = $1 and s.run_id = $2
      and s.number = coalesce(
        (select d.number from concordat.signals d
          where d.tenant_id = $1 and d.run_id = $2 and d.step_key = $3 and d.state = 'delivered'),
        (select k.number from concordat.signals k
          where k.tenant_id = $1 and k.run_id = $2 and k.name = wait.name and k.state = 'kept' and k.received_at <= wait.due_at
          order by k.number limit 1))
   returning s.number, s.signal_id as "signalId", s.sent_by as by, s.received_at as "receivedAt", s.payload`,
)

export interface DeliveredSignal {
  readonly number: number
  readonly signalId: string
  readonly by: string
  readonly receivedAt: Date
  /** As it is stored. */
  readonly payload: string
}

/** Gives the waiting step its signal: the one that it has got, else the oldest that is kept and came in time. */
export async function takeSignal(tx: Tx, { tenantId, runId, stepKey }: StepKey): Promise<DeliveredSignal | null> {
  const [row] = await tx.query<DeliveredSignal>(TAKE, [tenantId, runId, stepKey])
  return row ?? null
}

const CLOSE_WAIT = statement(
  'waits_close',
  `update concordat.waits w set timed_out = true
    where w.tenant_id = $1 and w.run_id = $2 and w.step_key = $3
      and (w.timed_out or w.due_at <= clock_timestamp()) and not exists (${DELIVERED})
   returning true`,
)

/** Ends a wait whose time is over and that got no signal. False: it goes on, or has one. */
export async function closeWait(tx: Tx, { tenantId, runId, stepKey }: StepKey): Promise<boolean> {
  return (await tx.query(CLOSE_WAIT, [tenantId, runId, stepKey])).length > 0
}

const REFUSE = statement(
  'signals_refuse',
  `update concordat.signals set state = 'refused', refusal = $4
    where tenant_id = $1 and run_id = $2 and number = $3 and state = 'delivered'`,
)

/** Takes a signal back from its step, which waits on. */
export async function refuseSignal(
  tx: Tx,
  { tenantId, runId, number }: Pick<NewSignal, 'tenantId' | 'runId' | 'number'>,
  why: string,
): Promise<void> {
  await tx.query(REFUSE, [tenantId, runId, number, why])
}

/** A signal as people see it, without its payload. */
export interface StoredSignal {
  readonly signalId: string
  readonly name: string
  readonly state: SignalState
  readonly stepKey: string | null
  readonly by: string
  readonly receivedAt: Date
  /** Why it was refused. */
  readonly refusal: string | null
}

/** A run's signals in the order in which they came. */
export async function signalsOfRun(
  tx: Tx,
  { tenantId, runId }: Pick<NewSignal, 'tenantId' | 'runId'>,
): Promise<StoredSignal[]> {
  return tx.query<StoredSignal>(
    `select signal_id as "signalId", name, state, step_key as "stepKey", sent_by as by, received_at as "receivedAt", refusal
       from concordat.signals where tenant_id = $1 and run_id = $2 order by number`,
    [tenantId, runId],
  )
}

/** The run's steps that wait for a signal and have none, those first that end first. */
export async function waitsOfRun(
  tx: Tx,
  { tenantId, runId }: Pick<NewSignal, 'tenantId' | 'runId'>,
): Promise<SignalWait[]> {
  return tx.query<SignalWait>(
    `select w.tenant_id as "tenantId", w.run_id as "runId", w.step_key as "stepKey", w.name, w.occurrence, w.schema, w.due_at as "dueAt"
       from concordat.waits w
      where w.tenant_id = $1 and w.run_id = $2 and not w.timed_out and not exists (${DELIVERED})
      order by w.due_at, w.step_key`,
    [tenantId, runId],
  )
}
