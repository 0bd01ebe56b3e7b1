import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { NamedSink } from './sinks.ts'

export interface DeliveryOptions {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly random: () => number
  readonly log: Logger
  readonly metrics: Metrics
  readonly sinks: readonly NamedSink[]
  /** Hosts that subscriptions may name though they are private. */
  readonly allowedPrivateHosts: readonly string[]
  /** How long an endpoint may fail before its subscription is disabled. */
  readonly disableAfterMs: number
  /** How long deliveries are kept after their end. */
  readonly retentionMs: number
}
