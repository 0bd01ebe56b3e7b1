import { EventEnvelope, type EventFields } from '../../src/foundation/events/events.ts'
import { createIdSource, partitionOf } from '../../src/foundation/ids.ts'
import type { Json } from '../../src/foundation/json.ts'

export const newId = createIdSource()

/** Makes events as a relay would: each partition's positions go up by one. */
export function eventSource(): (runId: string, data?: Json) => EventEnvelope {
  const next = new Map<number, number>()
  return (runId, data = null) => {
    const partition = partitionOf(runId)
    const position = (next.get(partition) ?? 0) + 1
    next.set(partition, position)
    return new EventEnvelope(eventFields({ runId, partition, position, data }))
  }
}

function eventFields(fields: Pick<EventFields, 'runId' | 'partition' | 'position' | 'data'>): EventFields {
  return { id: newId(), type: 'run.created', time: new Date().toISOString(), tenantId: 'default', ...fields }
}
