export { EventEnvelope, type EventFields } from './envelope.ts'
export { type EventType, eventTypes } from './event-types.ts'
export { eventsReference } from './events-reference.ts'
export {
  appendEvents,
  appendEventsSql,
  type EventSql,
  eventIdSql,
  eventIdsAt,
  jsonTextSql,
  type OutboxEntry,
  pruneOutbox,
  type RunEvent,
} from './outbox.ts'
export { type OutgoingEvent, outgoingEvents } from './outgoing.ts'
export { type Positions, positionsBefore, positionsGiven, positionsNow, readPublished } from './published-events.ts'
export { eventsOfRun, type StoredEvent, UNPUBLISHED_SQL } from './stored-events.ts'
export { meansNothing, typeMatcher } from './type-patterns.ts'
export { envelopesOf, type OutboxRow } from './unpack.ts'
