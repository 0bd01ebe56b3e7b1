import { closeSystemIncident, openSystemIncident, type SystemIncident } from '../../domains/incidents/incidents.ts'
import type { Bus } from '../../foundation/bus/bus.ts'
import type { Clock } from '../../foundation/clock.ts'
import { meansNothing } from '../../foundation/events/events.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import { createTicker, defineService, type Service } from '../../foundation/service.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { Deliveries, ReactorStopped } from './deliveries.ts'
import {
  type EventHandler,
  type Handler,
  type HandlerDecorator,
  type HandlerOptions,
  Handlers,
  type TransactionalHandler,
} from './handlers.ts'
import { createHeartbeat, type Unhealthy } from './heartbeat.ts'
import { reactorMetrics } from './reactor-metrics.ts'
import { COMPONENT, ReactorWork } from './reactor-work.ts'

export const ReactorState = Object.freeze({
  STOPPED: 'STOPPED',
  STARTING: 'STARTING',
  RUNNING: 'RUNNING',
  STOPPING: 'STOPPING',
})
export type ReactorState = keyof typeof ReactorState

/** The group of reactors that share the partitions, unless another is named. */
export const DEFAULT_GROUP = 'concordat'
const TICK_MS = 50
/** Of an outage that lasts, this is a line every ten seconds or so. */
const TROUBLE_LOGGED_EVERY = 100

export interface EventReactorOptions {
  readonly database: Database
  readonly bus: Bus
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
  readonly newId: () => string
  readonly random: () => number
  /** Reactors of one group share the events; `concordat` unless given. */
  readonly group?: string
  /** Names the process for people. */
  readonly process: string
  /** How long a reactor that died keeps its partitions from others. */
  readonly leaseMs: number
  /** How long `stop` waits for handlers. */
  readonly drainTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** Heartbeats that are missed in a row before the reactor counts as unhealthy. */
  readonly heartbeatMissThreshold: number
  /** Called once when it has become unhealthy; a system incident is raised too, as soon as the database takes it. */
  readonly onUnhealthy?: ((unhealthy: Unhealthy) => unknown) | undefined
  readonly onDatabaseTime?: (nowMs: number, roundTripMs: number) => void
}

/**
 * Brings every published event to the handlers that want it: in order per run, at least once, exactly once for what a
 * transactional handler writes. Reactors of a group share the 16 partitions and take over those of one that died. What
 * the transport loses is read from the outbox, so that events may be late, never left out.
 */
export class EventReactor {
  readonly #options: EventReactorOptions
  readonly #handlers = new Handlers()
  readonly #service: Service
  #stopped = Promise.withResolvers<void>()

  constructor(options: EventReactorOptions) {
    this.#options = options
    let stop = async () => {}
    this.#service = defineService('event reactor', {
      start: async () => {
        stop = await this.#run()
      },
      stop: () => stop(),
    })
  }

  get state(): ReactorState {
    return this.#service.state
  }

  /** Names of the registered handlers. */
  get handlers(): readonly string[] {
    return this.#handlers.names
  }

  /**
   * Calls `handler` for every event of the type: an exact one, a prefix as in `audit.*`, or `*`. Without a handler it
   * returns a decorator for methods of classes, which registers the method of each instance. Fails with
   * `INVALID_REQUEST` when the type or the name can't be used.
   *
   * @example
   * reactor.on('run.failed', async (event) => notify(event.runId), { name: 'notify' })
   * reactor.on('run.*', (event, { tx }) => tx.query('insert into …', [event.id]), { name: 'copy', transactional: true })
   */
  on(type: string, handler: TransactionalHandler, options: HandlerOptions & { readonly transactional: true }): void
  on(type: string, handler: EventHandler, options?: HandlerOptions): void
  on(type: string, options?: HandlerOptions): HandlerDecorator
  on(
    type: string,
    handler?: EventHandler | TransactionalHandler | HandlerOptions,
    options?: HandlerOptions,
  ): HandlerDecorator | undefined {
    const isDecorator = options === undefined && (handler === undefined || (handler && typeof handler === 'object'))
    if (!isDecorator) {
      this.#added(this.#handlers.add(type, handler as EventHandler, options))
      return undefined
    }
    const handlers = this.#handlers
    const added = (one: Handler) => this.#added(one)
    return (method, context) => {
      context.addInitializer(function (this: unknown) {
        const { name } = (this as object).constructor
        added(handlers.add(type, method.bind(this) as EventHandler, handler, `${name}.${String(context.name)}`))
      })
    }
  }

  /** Runs until it is stopped. */
  async start(): Promise<void> {
    await this.startBackground()
    await this.#stopped.promise
  }

  /** Resolves once it is RUNNING. Fails with `DATABASE_UNREACHABLE`; without its transport it starts, events are late. */
  startBackground(): Promise<void> {
    return this.#service.start()
  }

  /** Takes no new event, lets handlers finish for a bounded time, gives the partitions up. May be called twice. */
  async stop(): Promise<void> {
    await this.#service.stop()
    this.#stopped.resolve()
    this.#stopped = Promise.withResolvers<void>()
  }

  /** Before it is started nobody waits for events: most programs that know handlers only look at something. */
  #added(handler: Handler): void {
    if (this.state !== ReactorState.STOPPED) this.#warnOfType(handler)
  }

  /** Not refused: a newer version may have the type. */
  #warnOfType({ name, type }: Handler): void {
    const nothing = meansNothing(type)
    if (nothing !== null) this.#options.log.warn({ handler: name, type }, `A handler is never called: ${nothing}`)
  }

  async #run(): Promise<() => Promise<void>> {
    const { group = DEFAULT_GROUP, metrics, drainTimeoutMs, onDatabaseTime = () => {}, ...options } = this.#options
    for (const handler of this.#handlers.all) this.#warnOfType(handler)
    const deliveries = new Deliveries()
    let failures = 0
    const ticker = createTicker({
      name: 'event reactor',
      intervalMs: TICK_MS,
      tick: async () => {
        await work.tick()
        if (failures > 0) options.log.info({ failures }, 'The reactor works with the database again')
        failures = 0
      },
      onError: (error) => {
        if (failures++ % TROUBLE_LOGGED_EVERY > 0) return
        options.log.warn({ error, failures }, 'The reactor has trouble with the database, trying again')
      },
    })
    const work: ReactorWork = new ReactorWork({
      ...options,
      ground: { ...options, group, metrics: reactorMetrics(metrics), deliveries },
      handlers: this.#handlers,
      memberId: options.newId(),
      onDatabaseTime,
      nudge: () => ticker.nudge(),
    })
    await work.open()
    await ticker.start()
    const heartbeat = this.#heartbeat(work)
    await heartbeat.start()
    return async () => {
      // Not once: the ticker may wait for a handler as well, and what comes then is bounded too.
      const patience = setInterval(() => deliveries.abort(new ReactorStopped()), drainTimeoutMs)
      try {
        await heartbeat.stop()
        await ticker.stop()
        await work.close()
      } finally {
        clearInterval(patience)
      }
      const subject = { component: COMPONENT, subject: options.process }
      await closeSystemIncident(options.database, subject).catch(() => {}) // else whoever removes its row does it
    }
  }

  #heartbeat(work: ReactorWork): Service {
    const { database, clock, log, metrics, newId, process, onUnhealthy } = this.#options
    const beats = metrics.counter('concordat_reactor_heartbeats_total')
    const subject = { component: COMPONENT, subject: process }
    const raise = async ({ misses, cause }: Unhealthy): Promise<void> => {
      const message = `${misses} heartbeats missed: ${cause}`
      log.error({ process, misses, cause }, 'The event reactor is unhealthy')
      raised = { ...subject, reason: 'REACTOR_UNHEALTHY', message }
      await store().catch(() => {}) // the database may be what is away: then with the first beat after that
    }
    const tell = async (unhealthy: Unhealthy): Promise<void> => {
      try {
        await onUnhealthy?.(unhealthy)
      } catch (error) {
        log.error({ error, process }, 'The callback for an unhealthy reactor failed') // else it would end the process
      }
    }
    let raised: SystemIncident | undefined
    const store = async () => {
      if (raised) await openSystemIncident(database, raised, newId())
      raised = undefined
    }
    return createHeartbeat({
      clock,
      intervalMs: this.#options.heartbeatIntervalMs,
      missThreshold: this.#options.heartbeatMissThreshold,
      prove: () => work.prove(),
      onBeat: () => beats.inc({}),
      onUnhealthy: (unhealthy) => {
        void raise(unhealthy)
        void tell(unhealthy)
      },
      onHealthyAgain: async () => {
        await store()
        await closeSystemIncident(database, subject)
        log.info({ process }, 'The event reactor is healthy again')
      },
    })
  }
}
