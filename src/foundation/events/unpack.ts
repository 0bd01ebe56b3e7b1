import { AppError } from '../app-error.ts'
import { EventEnvelope, nestsTooDeep } from './envelope.ts'
import type { RunEvent } from './outbox.ts'

/** An outbox row as it is read: `events` is JSON text. */
export interface OutboxRow {
  readonly tenant_id: string
  readonly run_id: string
  readonly partition: number
  /** How many positions the row has. */
  readonly event_count: number
  readonly events: string
}

/** Called with what is no event, why, and where it stands. */
export type HearMalformed = (message: string, error: AppError, partition: number, position: number) => void

/**
 * Takes an outbox row apart: its first event is at `position`, the others follow. The rows are ours; but one that
 * somebody has changed must not keep all others from being published. What is no event leaves its position empty.
 */
export function envelopesOf(row: OutboxRow, position: number, malformed: HearMalformed = () => {}): EventEnvelope[] {
  const { run_id: runId, tenant_id: tenantId, partition, event_count: count } = row
  const events = eventsIn(row.events)
  const isWhole = events?.length === count
  if (!isWhole) malformed(row.events, noEvent(`the row does not have ${count} events`), partition, position)
  return (events ?? []).slice(0, count).flatMap((event, index) => {
    if (isEvent(event)) {
      const { id, type, time, data } = event
      return new EventEnvelope({ id, type, time, data, runId, tenantId, partition, position: position + index })
    }
    if (isWhole) malformed(JSON.stringify(event), noEvent('it lacks id, type or time'), partition, position + index)
    return []
  })
}

/** The events of an outbox row; what is none is left out. */
export function readEvents(text: string): RunEvent[] {
  return (eventsIn(text) ?? []).filter(isEvent)
}

function eventsIn(text: string): readonly unknown[] | undefined {
  if (nestsTooDeep(text)) return undefined
  const events: unknown = JSON.parse(text) // the column's type says that it is JSON
  return Array.isArray(events) ? events : undefined
}

function isEvent(value: unknown): value is RunEvent {
  const event = value as Partial<RunEvent> | null
  return typeof event?.id === 'string' && typeof event.type === 'string' && typeof event.time === 'string'
}

function noEvent(why: string): AppError {
  return new AppError('INVALID_INPUT', `A row of the outbox holds what is no event: ${why}`, {
    hint: 'Only Concordat writes there; look for who else does.',
  })
}
