import type { PolicyBook } from '../../domains/policies/policies.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { Participant } from './participants.ts'

export interface CompletionOptions {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly random: () => number
  readonly log: Logger
  readonly metrics: Metrics
  /** TRANSACTION_COORDINATOR_ENABLED: atomic when true, the legacy path when false. */
  readonly coordinatorEnabled: boolean
  /** TRANSACTION_FALLBACK_TO_LEGACY: what follows when the atomic path fails. */
  readonly fallbackToLegacy: boolean
  /** RAC_ROLLBACK_AUDIT_ENABLED: leave a `ROLLED_BACK` ack for each undone operation. */
  readonly rollbackAudit: boolean
  /** What `observability` says of a run whose trace has gaps. */
  readonly degradedAs: 'DEGRADED' | 'NONE'
  readonly policies: PolicyBook
  /** OBSERVE_ONLY: a policy that is broken at a run's end is told and not acted upon. */
  readonly policyDecisionsMuted: boolean
  readonly participants: readonly Participant[]
  /** How long a write waits for a database that is away, in milliseconds. */
  readonly retryForMs: number
  /** Called after a commit that stopped what runs had left behind, so that workers hear of it at once. */
  readonly onChildrenStopped: (tenantId: string) => void
  /** Called after a commit that ended a run, so that its events go out at once. */
  readonly onCommitted: () => void
}
