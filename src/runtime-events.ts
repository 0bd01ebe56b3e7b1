import { hostname } from 'node:os'
import type { Config, ProcessKind } from './config.ts'
import { createDeliverySender, deliveryHandlers, parseSinks, type Sink } from './flow/delivery/delivery.ts'
import {
  type EventHandler,
  EventReactor,
  type EventReactorOptions,
  type HandlerDefinition,
  type Unhealthy,
} from './flow/reactor/reactor.ts'
import { auditHandlers } from './flow/reconciliation/reconciliation.ts'
import type { Service } from './foundation/service.ts'

/** What a program or `concordat.config.ts` says about events. */
interface EventDefinitions {
  readonly handlers?: readonly HandlerDefinition[]
  readonly sinks?: readonly Sink[]
  readonly allowedPrivateHosts?: readonly string[]
  readonly onReactorUnhealthy?: (unhealthy: Unhealthy) => void
}

type Ground = Pick<
  EventReactorOptions,
  'database' | 'bus' | 'clock' | 'log' | 'metrics' | 'newId' | 'random' | 'onDatabaseTime'
> & { readonly retryForMs: number }

/** Who handles events, our own handlers among them, and who sends what comes of that. */
export function composeEvents(
  { handlers = [], sinks: defined, allowedPrivateHosts = [], onReactorUnhealthy }: EventDefinitions,
  config: Config,
  ground: Ground,
): { readonly reactor: EventReactor; readonly deliveries: Service } {
  const { leaseMs, drainTimeoutMs, auditAlertsEnabled: alertsEnabled } = config
  const sinks = parseSinks(defined)
  const reactor = new EventReactor({
    ...ground,
    leaseMs,
    drainTimeoutMs,
    heartbeatIntervalMs: config.reactorHeartbeatIntervalMs,
    heartbeatMissThreshold: config.reactorHeartbeatMissThreshold,
    onUnhealthy: onReactorUnhealthy,
    process: `${hostname()}:${process.pid}`,
  })
  for (const { type, handle, ...handler } of handlers) reactor.on(type, handle as EventHandler, handler)
  for (const { type, handle, name } of deliveryHandlers({ ...ground, sinks, alertsEnabled })) {
    reactor.on(type, handle, { name, transactional: true })
  }
  const legacyPossible = !config.transactionCoordinatorEnabled || config.transactionFallbackToLegacy
  for (const { type, handle, ...handler } of auditHandlers({ ...ground, legacyPossible })) {
    reactor.on(type, handle, handler)
  }
  const deliveries = createDeliverySender({
    ...ground,
    sinks,
    allowedPrivateHosts,
    disableAfterMs: config.deliveryDisableAfterMs,
    retentionMs: config.outboxRetentionMs,
  })
  return { reactor, deliveries }
}

interface Parts {
  readonly bus: Service
  readonly reactor: EventReactor
  readonly deliveries: Service
  /** What runs beside, in every process but one that only handles events. */
  readonly beside: readonly Service[]
}

/** What runs in this process, in the order of its start. What the relay still publishes in the end is handled. */
export function partsOf(config: Config, kind: ProcessKind | undefined, parts: Parts): Service[] {
  const { bus, reactor, deliveries, beside } = parts
  const handling: Service = {
    name: 'event reactor',
    get state() {
      return reactor.state
    },
    start: () => reactor.startBackground(),
    stop: () => reactor.stop(),
  }
  if (kind === 'reactor') return [bus, deliveries, handling]
  return config.eventReactorEnabled ? [bus, deliveries, handling, ...beside] : [bus, deliveries, ...beside]
}
