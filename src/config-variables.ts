import { type GovernanceProfile, governanceProfiles, type ProfileSettings } from './config-profile.ts'
import { choice, duration, flag, integer, serverUrl, text, type ValueKind } from './config-values.ts'
import type { LogLevel } from './foundation/log.ts'
import { limits } from './limits.ts'

export type EventTransport = 'memory' | 'postgres' | 'redis-pubsub' | 'redis-streams'
export type PauseTimeoutBehavior = 'TERMINATE' | 'CONTINUE' | 'ESCALATE'

/** What environment variables and options set; times in ms. */
export interface Settings extends ProfileSettings {
  readonly governanceProfile: GovernanceProfile | undefined
  /** Unset: embedded database in `dataDir`. */
  readonly databaseUrl: string | undefined
  readonly dataDir: string
  readonly redisUrl: string | undefined
  readonly eventTransport: EventTransport
  readonly workerConcurrency: number
  readonly leaseMs: number
  readonly runTimeoutMs: number
  readonly stepTimeoutMs: number
  readonly drainTimeoutMs: number
  readonly outboxRetentionMs: number
  readonly deliveryDisableAfterMs: number
  readonly retentionMs: number
  readonly reactorHeartbeatIntervalMs: number
  readonly reactorHeartbeatMissThreshold: number
  readonly pauseSlaMs: number
  readonly pauseNotifyBeforeTimeoutMs: number
  readonly pauseTimeoutBehavior: PauseTimeoutBehavior
  readonly host: string
  readonly port: number
  readonly logLevel: LogLevel
}

export interface Variable<Value> {
  /** The name in the environment. */
  readonly variable: string
  readonly kind: ValueKind<NonNullable<Value>>
  readonly default: Value
  /** The default in words, where it depends on other variables. */
  readonly defaultText?: string
  readonly meaning: string
  /** Also read from the file that NAME_FILE names; never shown in messages. */
  readonly secret?: true
  /** Read and reported, but this version does not act on it. */
  readonly notEnforced?: true
}

const DAY_SECONDS = 86_400

/** Every variable: the single source of parsing, of `concordat doctor` and of docs/reference/configuration.md. */
export const variables: { readonly [Key in keyof Settings]: Variable<Settings[Key]> } = Object.freeze({
  governanceProfile: {
    variable: 'GOVERNANCE_PROFILE',
    kind: choice(governanceProfiles),
    default: undefined,
    meaning: 'Sets the ten governance variables together.',
  },
  eventReactorEnabled: {
    variable: 'EVENT_REACTOR_ENABLED',
    kind: flag,
    default: false,
    meaning: 'Handle events in this process: handlers of your own.',
  },
  midExecutionPolicyCheckEnabled: {
    variable: 'MID_EXECUTION_POLICY_CHECK_ENABLED',
    kind: flag,
    default: false,
    meaning: 'Check policies and budgets before steps. Stop, suspension, pause and deadline always work.',
  },
  auditAlertsEnabled: {
    variable: 'AUDIT_ALERTS_ENABLED',
    kind: flag,
    default: true,
    meaning: 'Send notifications of alerts. The alerts are stored all the same.',
  },
  policyCheckIntervalMs: {
    variable: 'POLICY_CHECK_INTERVAL_SECONDS',
    kind: duration('seconds', 0, DAY_SECONDS),
    default: 30_000,
    meaning: 'Shortest time between two policy checks of a run.',
  },
  policyCheckMinSteps: {
    variable: 'POLICY_CHECK_MIN_STEPS',
    kind: integer(1, limits.stepsPerRunMax),
    default: 3,
    meaning: 'Fewest steps between two policy checks of a run.',
  },
  transactionCoordinatorEnabled: {
    variable: 'TRANSACTION_COORDINATOR_ENABLED',
    kind: flag,
    default: false,
    meaning: 'Complete runs in one transaction. Off: the legacy path, each domain in its own transaction.',
  },
  transactionFallbackToLegacy: {
    variable: 'TRANSACTION_FALLBACK_TO_LEGACY',
    kind: flag,
    default: true,
    meaning:
      'Complete a run by the legacy path when its transaction failed. Off: the run stays FINALIZING and is retried.',
  },
  policyCheckOnError: {
    variable: 'POLICY_CHECK_ON_ERROR',
    kind: choice(['continue', 'pause']),
    default: 'continue',
    meaning: 'What a run does when the policy check itself fails.',
  },
  observabilityMode: {
    variable: 'OBSERVABILITY_MODE',
    kind: choice(['STRICT', 'DEGRADED', 'PERMISSIVE']),
    default: 'DEGRADED',
    meaning: 'What a run does when its trace cannot be written: fail, go on marked, go on.',
  },
  racRollbackAuditEnabled: {
    variable: 'RAC_ROLLBACK_AUDIT_ENABLED',
    kind: flag,
    default: true,
    meaning: 'Keep a ROLLED_BACK ack of each operation that a failed completion undid.',
  },
  databaseUrl: {
    variable: 'DATABASE_URL',
    kind: serverUrl('postgres', 'postgresql'),
    default: undefined,
    defaultText: 'embedded database in `CONCORDAT_DATA_DIR`',
    meaning: 'PostgreSQL 15 or later.',
    secret: true,
  },
  dataDir: {
    variable: 'CONCORDAT_DATA_DIR',
    kind: text,
    default: '.concordat',
    meaning: 'Folder of the embedded database; one process at a time.',
  },
  redisUrl: {
    variable: 'REDIS_URL',
    kind: serverUrl('redis', 'rediss'),
    default: undefined,
    meaning: 'Redis for events. It carries copies only: without it events are late, not lost.',
    secret: true,
  },
  eventTransport: {
    variable: 'EVENT_TRANSPORT',
    kind: choice(['memory', 'postgres', 'redis-pubsub', 'redis-streams']),
    default: 'memory',
    defaultText: '`redis-streams` with `REDIS_URL`, else `postgres` with `DATABASE_URL`, else `memory`',
    meaning: 'How events travel from the outbox to those who listen.',
  },
  workerConcurrency: {
    variable: 'WORKER_CONCURRENCY',
    kind: integer(1, 10_000),
    default: 50,
    meaning: 'Runs that a worker executes at the same time.',
  },
  leaseMs: {
    variable: 'LEASE_SECONDS',
    kind: duration('seconds', limits.leaseMsMin / 1_000, 3_600),
    default: 10_000,
    meaning: 'How long a worker that sends no heartbeat keeps its runs.',
  },
  runTimeoutMs: {
    variable: 'RUN_TIMEOUT_SECONDS',
    kind: duration('seconds', 1, 7 * DAY_SECONDS),
    default: 3_600_000,
    meaning: 'Deadline of a run from its first execution, without paused or waiting time.',
  },
  stepTimeoutMs: {
    variable: 'STEP_TIMEOUT_SECONDS',
    kind: duration('seconds', 1, DAY_SECONDS),
    default: 600_000,
    meaning: 'Longest time of one attempt of a step, unless the step sets its own.',
  },
  drainTimeoutMs: {
    variable: 'DRAIN_TIMEOUT_SECONDS',
    kind: duration('seconds', 0, 3_600),
    default: 30_000,
    meaning: 'How long a process that is told to end lets its runs go on before it aborts and releases them.',
  },
  outboxRetentionMs: {
    variable: 'OUTBOX_RETENTION_HOURS',
    kind: duration('hours', 1, 8_760),
    default: 72 * 3_600_000,
    meaning: 'How long published events are kept.',
  },
  deliveryDisableAfterMs: {
    variable: 'DELIVERY_DISABLE_AFTER_HOURS',
    kind: duration('hours', 1, 720),
    default: 72 * 3_600_000,
    meaning: 'How long no delivery to a subscription may arrive before it is disabled.',
  },
  retentionMs: {
    variable: 'RETENTION_DAYS',
    kind: duration('days', 180, 36_500),
    default: 180 * 86_400_000,
    meaning: 'How long dead letters are kept. Ended runs and their footprint are kept for good in this version.',
  },
  reactorHeartbeatIntervalMs: {
    variable: 'REACTOR_HEARTBEAT_INTERVAL_SECONDS',
    kind: duration('seconds', 1, 3_600),
    default: 30_000,
    meaning: 'Time between two heartbeats of the reactor.',
  },
  reactorHeartbeatMissThreshold: {
    variable: 'REACTOR_HEARTBEAT_MISS_THRESHOLD',
    kind: integer(1, 1_000),
    default: 3,
    meaning: 'Missed heartbeats after which the reactor counts as unhealthy.',
  },
  pauseSlaMs: {
    variable: 'PAUSE_SLA_SECONDS',
    kind: duration('seconds', 1, 30 * DAY_SECONDS),
    default: 3_600_000,
    meaning: 'How long a run may stay paused before PAUSE_TIMEOUT_BEHAVIOR is applied.',
  },
  pauseNotifyBeforeTimeoutMs: {
    variable: 'PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS',
    kind: duration('seconds', 0, 30 * DAY_SECONDS),
    default: 300_000,
    defaultText: '300, or half of PAUSE_SLA_SECONDS where that is less',
    meaning: 'How long before its time is over a warning of a paused run is logged and kept with it; 0: never.',
  },
  pauseTimeoutBehavior: {
    variable: 'PAUSE_TIMEOUT_BEHAVIOR',
    kind: choice(['TERMINATE', 'CONTINUE', 'ESCALATE']),
    default: 'TERMINATE',
    meaning: 'What becomes of a run that stayed paused too long: it ends, it goes on, or only operators may resume it.',
  },
  host: {
    variable: 'HOST',
    kind: text,
    default: '127.0.0.1',
    meaning: 'Address that the server listens on.',
    notEnforced: true,
  },
  port: {
    variable: 'PORT',
    kind: integer(0, 65_535),
    default: 8080,
    meaning: 'Port that the server listens on; 0 takes any free one.',
    notEnforced: true,
  },
  logLevel: {
    variable: 'LOG_LEVEL',
    kind: choice(['debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    meaning: 'Lines below this level are not logged.',
  },
})
