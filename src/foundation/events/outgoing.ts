import { ATTRIBUTES, EventEnvelope, nestsTooDeep } from './envelope.ts'
import { EVENT_SEPARATOR, type RunEvent } from './outbox.ts'
import { envelopesOf, type OutboxRow } from './unpack.ts'

/** An event on its way from the outbox to its subscribers. An `EventEnvelope` is one, too. */
export interface OutgoingEvent {
  readonly partition: number
  /** The CloudEvents JSON. */
  readonly text: string
  readonly envelope: EventEnvelope
}

/** What our own events begin with: whatever follows is their data, and JSON because the column is. */
const BEGINNING = /^\{"id":"[0-9a-f-]{36}","type":"[a-z_.]{1,64}","time":"\d{4}-\d\d-\d\dT[\d:.]{8,15}Z","data":/

/**
 * The events of an outbox row, the first of them at `position`. They travel as they are stored: what reading their JSON
 * and writing it again would cost is a tenth of what a run costs its worker. A row that is not as we write it is taken
 * apart with care, and what is no event in it is left out.
 */
export function outgoingEvents(row: OutboxRow, position: number): readonly OutgoingEvent[] {
  const stored = eventTexts(row)
  if (!stored) return envelopesOf(row, position)
  const attributes = `${ATTRIBUTES}"subject":"${row.run_id}","tenantid":${JSON.stringify(row.tenant_id)},"partition":${row.partition},"position":"`
  return stored.map((text, index) => new StoredText(row, position + index, attributes, text))
}

/** The stored texts of a row's events, if it is as we write it. */
function eventTexts({ events, event_count: count }: OutboxRow): readonly string[] | undefined {
  const texts = events.slice(1, -1).split(EVENT_SEPARATOR)
  const isOurs = texts.length === count && texts.every((text) => BEGINNING.test(text) && text.endsWith('}'))
  return isOurs && !nestsTooDeep(events) ? texts : undefined
}

/** Made only what somebody asks for: a transport wants one or the other, once. */
class StoredText implements OutgoingEvent {
  readonly #row: OutboxRow
  readonly #position: number
  readonly #attributes: string
  readonly #stored: string

  constructor(row: OutboxRow, position: number, attributes: string, stored: string) {
    this.#row = row
    this.#position = position
    this.#attributes = attributes
    this.#stored = stored
  }

  get partition(): number {
    return this.#row.partition
  }

  get text(): string {
    return `${this.#attributes}${this.#position}",${this.#stored.slice(1)}`
  }

  get envelope(): EventEnvelope {
    const { run_id: runId, tenant_id: tenantId, partition } = this.#row
    const { id, type, time, data } = JSON.parse(this.#stored) as RunEvent
    return new EventEnvelope({ id, type, time, data, runId, tenantId, partition, position: this.#position })
  }
}
