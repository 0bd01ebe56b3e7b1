import { hostname } from 'node:os'
import type { LanguageModelV4 } from '@ai-sdk/provider'
import {
  type Config,
  type ConfigOverrides,
  environmentSecrets,
  loadConfig,
  type ProcessKind,
  type SecretSource,
} from './config.ts'
import { type Agent, AgentDirectory, registerAgents, SignalSchemas, type Skill } from './domains/agents/agents.ts'
import { Expressions, PolicyBook } from './domains/policies/policies.ts'
import {
  type CompletionContext,
  createCompletionContext,
  type Participant,
  type RunCompletionTransaction,
} from './flow/completion/completion.ts'
import type { Sink } from './flow/delivery/delivery.ts'
import {
  Budgets,
  builtInSkills,
  createStepGates,
  createWorkerPool,
  ObservabilityGuard,
  type Prices,
  pricesSchema,
  RunScope,
  type WorkerPool,
  type WorkerPoolOptions,
} from './flow/execution/execution.ts'
import { type Authorize, Intake } from './flow/intake/intake.ts'
import { RunOrchestrationKernel, removeDeadWorkers } from './flow/kernel/kernel.ts'
import { createMaintenance, sweepDueRuns } from './flow/maintenance/maintenance.ts'
import { type EventReactor, type HandlerDefinition, pruneDeadLetters, type Unhealthy } from './flow/reactor/reactor.ts'
import { createReconciliationSweep } from './flow/reconciliation/reconciliation.ts'
import { createRelay } from './flow/relay/relay.ts'
import { type StoppingContext, sweepStopOrders, sweepSuspended } from './flow/stopping/stopping.ts'
import { AppError } from './foundation/app-error.ts'
import { type Bus, createBus } from './foundation/bus/bus.ts'
import { DatabaseClock } from './foundation/clock.ts'
import { createIdSource } from './foundation/ids.ts'
import { createLogger, type Logger } from './foundation/log.ts'
import { createMetrics, type Metrics } from './foundation/metrics.ts'
import { identityCodec, type PayloadCodec } from './foundation/payload-codec.ts'
import { issuesText } from './foundation/schema-issues.ts'
import { defineService, type Service, startAll, stopAll } from './foundation/service.ts'
import { type Database, migrate, openDatabase } from './foundation/storage/storage.ts'
import { limits } from './limits.ts'
import { composeEvents, partsOf } from './runtime-events.ts'
import {
  type AlertsApi,
  type ApprovalsApi,
  type AuditApi,
  createAlertsApi,
  createApprovalsApi,
  createAuditApi,
  createPoliciesApi,
  createRunsApi,
  createSubscriptionsApi,
  createTenantsApi,
  type PoliciesApi,
  RunResults,
  type RunsApi,
  type SubscriptionsApi,
  type TenantsApi,
} from './surface/library/library.ts'
import { planAgent } from './surface/plan/plan.ts'
import { replayAgent } from './surface/replay/replay.ts'

/** What `concordat.config.ts` defines, and what `createConcordat` takes. */
export interface ConcordatDefinition {
  readonly agents?: readonly Agent[]
  readonly skills?: readonly Skill[]
  readonly participants?: readonly Participant[]
  /** Where people are told of alerts; the log unless given. */
  readonly sinks?: readonly Sink[]
  /** Called for events, by the reactor. */
  readonly handlers?: readonly HandlerDefinition[]
  /** Called when the reactor has missed REACTOR_HEARTBEAT_MISS_THRESHOLD heartbeats; a system incident is raised too. */
  readonly onReactorUnhealthy?: (unhealthy: Unhealthy) => unknown
  /** The models that plans name in `llm_invoke`. */
  readonly models?: Readonly<Record<string, LanguageModelV4>>
  /** By the provider's model name; these win over the shipped ones. */
  readonly prices?: Prices
  readonly authorize?: Authorize
  /** Hosts that `http_call` and subscriptions may reach though they are private, as `localhost:8080`. */
  readonly allowedPrivateHosts?: readonly string[]
  readonly secrets?: SecretSource
  readonly codec?: PayloadCodec
}

export interface ConcordatOptions extends ConcordatDefinition {
  /** Settings that win over the environment, as `{ databaseUrl: 'postgres://…' }`. */
  readonly config?: ConfigOverrides
  readonly processKind?: ProcessKind
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly log?: Logger
  /** How long a step that was told to abort may take before it is left behind; 5,000 ms unless given. */
  readonly stopGraceMs?: number
  /** An open database to use instead of the configured one; it is closed with the runtime. */
  readonly database?: Database
}

/** Types `concordat.config.ts` and returns it as it is. */
export function defineConfig(definition: ConcordatDefinition): ConcordatDefinition {
  return definition
}

/** A running Concordat: what a program holds to submit runs, and what `start` makes execute them. */
export interface Concordat extends Service {
  readonly config: Config
  readonly runs: RunsApi
  readonly audit: AuditApi
  readonly alerts: AlertsApi
  readonly subscriptions: SubscriptionsApi
  readonly policies: PoliciesApi
  readonly approvals: ApprovalsApi
  readonly tenants: TenantsApi
  readonly agents: AgentDirectory
  readonly metrics: Metrics
  readonly bus: Bus
  /** Calls handlers for events; runs with `start()` where EVENT_REACTOR_ENABLED says so. */
  readonly reactor: EventReactor
  readonly database: Database
  readonly coordinator: RunCompletionTransaction
  readonly worker: WorkerPool
  /** A further worker beside `worker`, for whoever makes it to start and stop. */
  createWorker(): WorkerPool
  /**
   * For handlers of `uncaughtException` and `unhandledRejection`: ends the run in whose code the error was thrown, where
   * nobody could catch it. False: it was no run's.
   */
  blame(error: unknown): boolean
  /** Stops everything and closes the database. The runtime can't be started again. */
  close(): Promise<void>
}

/** The runtime's own transaction coordinator. */
export function getTransactionCoordinator(runtime: Concordat): RunCompletionTransaction {
  return runtime.coordinator
}

/**
 * Builds a runtime: embedded unless DATABASE_URL is set. The schema is brought up to date. Nothing is executed before
 * `start()`; submitting works at once. Fails with the codes of configuration and database.
 */
export async function createConcordat(options: ConcordatOptions = {}): Promise<Concordat> {
  const config = loadConfig(options.env ?? process.env, options.config, options.processKind)
  const log = options.log ?? createLogger({ level: config.logLevel })
  const skills = [...builtInSkills(options), ...(options.skills ?? [])]
  const directory = new AgentDirectory({
    agents: [...(options.agents ?? []), replayAgent(), planAgent(skills)],
    skills,
  })
  const prices = readPrices(options.prices)
  const database = options.database ?? (await openDatabase({ url: config.databaseUrl, dataDir: config.dataDir, log }))
  try {
    await migrate(database)
    if (database.kind === 'embedded' && database !== options.database) await removeDeadWorkers(database)
    const metrics = createMetrics()
    const bus = await createEventBus(config, database, log, metrics)
    return compose({ options, config, log, metrics, directory, prices, database, bus })
  } catch (error) {
    await database.close()
    throw error
  }
}

function readPrices(prices: Prices = {}): Prices {
  const parsed = pricesSchema.safeParse(prices)
  if (parsed.success) return parsed.data
  throw new AppError('INVALID_CONFIGURATION', `prices are not valid: ${issuesText(parsed.error)}`)
}

interface Foundations {
  readonly options: ConcordatOptions
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly directory: AgentDirectory
  readonly prices: Prices
  readonly database: Database
  readonly bus: Bus
}

/** Builds every part, in the order in which they depend on each other. */
function compose(foundations: Foundations): Concordat {
  const { options, config, log, metrics, directory, prices, database, bus } = foundations
  const newId = createIdSource()
  const clock = new DatabaseClock({
    onSkew: (skewMs) => log.warn({ skewMs }, 'this machine’s clock differs from the database’s; database time is used'),
  })
  const codec = options.codec ?? identityCodec
  const expressions = new Expressions()
  const schemas = new SignalSchemas()
  const policies = new PolicyBook(expressions)
  const ground = { database, clock, newId, random: Math.random, log, metrics, retryForMs: config.leaseMs }

  const results = new RunResults(database, log)
  const relay = createRelay({ ...ground, bus, ownerId: newId() })
  const onCommitted = () => relay.nudge()

  const completion: CompletionContext = createCompletionContext({
    ...ground,
    coordinatorEnabled: config.transactionCoordinatorEnabled,
    fallbackToLegacy: config.transactionFallbackToLegacy,
    rollbackAudit: config.racRollbackAuditEnabled,
    degradedAs: config.observabilityMode === 'PERMISSIVE' ? 'NONE' : 'DEGRADED',
    policies,
    policyDecisionsMuted: config.policyDecisionsMuted,
    participants: options.participants ?? [],
    onCommitted,
    onChildrenStopped: (tenantId) => {
      kernel
        .push({ tenantId })
        .catch((error) => log.warn({ error, tenantId }, 'workers hear of stops at their heartbeats'))
    },
  })
  const guard: ObservabilityGuard = new ObservabilityGuard({
    mode: config.observabilityMode,
    record: (record) => (record.charge ? budgets.record(record) : kernel.recordStep(record)),
    log,
    metrics,
  })
  const kernel: RunOrchestrationKernel = new RunOrchestrationKernel({
    ...ground,
    pauseSla: {
      slaMs: config.pauseSlaMs,
      notifyBeforeMs: config.pauseNotifyBeforeTimeoutMs,
      onTimeout: config.pauseTimeoutBehavior,
    },
    mayTrace: () => guard.mayTrace(),
    onTraceError: (error, runId) => guard.traceFailed(error, runId),
  })
  const stopping: StoppingContext = { ...ground, kernel, completion }
  const maintenance = createMaintenance({
    ...ground,
    kernel,
    completion,
    sweepStops: async () => {
      await sweepStopOrders(stopping)
      await sweepSuspended(stopping)
    },
    outboxRetentionMs: config.outboxRetentionMs,
    pruneDeadLetters: () => pruneDeadLetters(database, config.retentionMs),
    onWoken: () => worker.nudge(),
  })
  const reconciliation = createReconciliationSweep(ground, onCommitted)
  const scope = new RunScope(log)
  const budgets: Budgets = new Budgets({ ...ground, kernel, muted: config.policyDecisionsMuted })
  const openGate = createStepGates({
    ...ground,
    budgets,
    book: policies,
    enabled: config.midExecutionPolicyCheckEnabled,
    intervalMs: config.policyCheckIntervalMs,
    minSteps: config.policyCheckMinSteps,
    onError: config.policyCheckOnError,
    muted: config.policyDecisionsMuted,
  })
  const workerOptions: WorkerPoolOptions = {
    ...ground,
    scope,
    openGate,
    ...config,
    kernel,
    completion,
    guard,
    directory,
    codec,
    stopGraceMs: options.stopGraceMs ?? limits.stopGraceMs,
    secrets: options.secrets ?? environmentSecrets(options.env),
    prices,
    schemas,
    startChild: (request, parent) => intake.submit(request, parent),
    process: `${hostname()}:${process.pid}`,
    concurrency: config.workerConcurrency,
    onHeartbeat: (nowMs, roundTripMs) => clock.correct(nowMs, roundTripMs),
    onClosed: (_claim, closing) => {
      if (closing.kind === 'ended' && closing.finished) results.closed(closing.finished)
      if (closing.kind === 'released' && closing.dueAt) maintenance.sweepAt(closing.dueAt, clock.now())
    },
  }
  const worker: WorkerPool = createWorkerPool(workerOptions)
  const intake: Intake = new Intake({
    ...ground,
    codec,
    findAgent: (name, version) => directory.find(name, version),
    authorize: options.authorize,
    completion,
    runTimeoutMs: config.runTimeoutMs,
    keepSlot: (agent) => worker.keepSlot(agent),
    onSubmitted: () => worker.nudge(),
  })

  const events = { ...ground, bus, onDatabaseTime: clock.correct.bind(clock) }
  const { reactor, deliveries } = composeEvents(options, config, events)
  const beside = [relay, maintenance, reconciliation, worker]
  const parts: Service[] = partsOf(config, options.processKind, { bus, reactor, deliveries, beside })
  const service = defineService('concordat', {
    start: async () => {
      if (options.processKind !== 'reactor') await registerAgents(database, directory.all())
      await startAll(parts)
    },
    stop: () => stopAll(parts),
  })
  let closing: Promise<void> | undefined
  const close = async () => {
    await service.stop()
    await reactor.stop() // which a program may have started by itself
    await results.close()
    await database.close()
  }
  const concordat: Concordat = {
    name: service.name,
    get state() {
      return service.state
    },
    start: () => service.start(),
    stop: () => service.stop(),
    close() {
      closing ??= close()
      return closing
    },
    config,
    runs: createRunsApi({
      ...ground,
      intake,
      kernel,
      completion,
      stopping,
      results,
      codec,
      schemas,
      onWoken: () => worker.nudge(),
    }),
    audit: createAuditApi(ground, () => sweepDueRuns({ kernel, completion, onWoken: () => worker.nudge() })),
    approvals: createApprovalsApi({ ...ground, kernel, codec, onReady: () => worker.nudge() }),
    policies: createPoliciesApi({
      ...ground,
      expressions,
      onChanged: async (tenantId) => {
        onCommitted()
        const told = [kernel.push({ tenantId }), worker.hear(tenantId)]
        await Promise.all(told).catch((error) => log.warn({ error, tenantId }, 'a change was not pushed'))
      },
    }),
    tenants: createTenantsApi(stopping, () => worker.nudge()),
    alerts: createAlertsApi(ground),
    subscriptions: createSubscriptionsApi({ ...ground, allowedPrivateHosts: options.allowedPrivateHosts ?? [] }),
    agents: directory,
    metrics,
    bus,
    reactor,
    database,
    coordinator: completion.transaction,
    worker,
    createWorker: () => createWorkerPool(workerOptions),
    blame: (error) => scope.blame(error),
  }
  return concordat
}

function createEventBus(
  { eventTransport, redisUrl }: Config,
  database: Database,
  log: Logger,
  metrics: Metrics,
): Promise<Bus> {
  if (eventTransport === 'redis-pubsub' || eventTransport === 'redis-streams') {
    return createBus({ transport: eventTransport, url: redisUrl ?? '', log, metrics })
  }
  return eventTransport === 'postgres'
    ? createBus({ transport: 'postgres', database, log })
    : createBus({ transport: 'memory', log })
}
