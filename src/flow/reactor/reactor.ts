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
