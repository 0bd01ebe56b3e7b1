import type { Clock } from '../../foundation/clock.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { Deliveries } from './deliveries.ts'
import type { ReactorMetrics } from './reactor-metrics.ts'

/** What all lanes of a reactor share. */
export interface LaneGround {
  readonly group: string
  readonly database: Database
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  readonly metrics: ReactorMetrics
  readonly deliveries: Deliveries
}
