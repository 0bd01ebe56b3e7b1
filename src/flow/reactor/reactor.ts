export { pruneDeadLetters } from './dead-letter-store.ts'
export { EventReactor, type EventReactorOptions, ReactorState } from './event-reactor.ts'
export type {
  EventHandler,
  HandlerContext,
  HandlerDecorator,
  HandlerDefinition,
  HandlerOptions,
  TransactionalContext,
  TransactionalHandler,
} from './handlers.ts'
export type { Unhealthy } from './heartbeat.ts'
export { type HandlerProgress, type ReactorHealth, reactorHealth } from './reactor-health.ts'
export { type Redriven, redriveDeadLetters, redriveEvents } from './redrive.ts'
