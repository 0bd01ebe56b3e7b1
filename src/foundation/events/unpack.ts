import { EventEnvelope } from './envelope.ts'
import type { RunEvent } from './outbox.ts'

/** An outbox row as it is read: `events` is JSON text. */
export interface OutboxRow {
  readonly tenant_id: string
  readonly run_id: string
  readonly partition: number
  readonly events: string
}

/** Takes an outbox row apart: its first event is at `position`, the others follow. */
export function envelopesOf(row: OutboxRow, position: number): EventEnvelope[] {
  const events: RunEvent[] = JSON.parse(row.events)
  return events.map(
    ({ id, type, time, data }, index) =>
      new EventEnvelope({
        id,
        type,
        time,
        data,
        runId: row.run_id,
        tenantId: row.tenant_id,
        partition: row.partition,
        position: position + index,
      }),
  )
}
