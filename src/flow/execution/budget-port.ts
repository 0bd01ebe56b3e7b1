import type { BrokenLimit, BudgetedRun, Charge, ChargeReply } from '../../domains/budgets/budgets.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { JsonObject } from '../../foundation/json.ts'
import type { Logger } from '../../foundation/log.ts'
import type { ChargeRequest, Lease } from '../kernel/kernel.ts'
import type { StepBound } from './step-bound.ts'

/** A step that is about to run, as budgets see it. */
export interface BudgetedStep {
  readonly key: string
  readonly kind: string
  /** What its code declares as the most it may use. */
  readonly declared?: StepBound | undefined
  /** What it is estimated to use at the most. */
  readonly estimate?: (() => StepBound) | undefined
  /** Who has approved it, so that limits which ask for an approval don't refuse it. */
  readonly approvedBy?: string | undefined
}

/** What recording a step's attempt changes in the ledger, and what its row says of that. */
export interface Recording {
  readonly charge: Charge
  /** Its overrun; null when it used no more than was reserved. */
  readonly attributes: JsonObject | null
}

/** `later`: there is no room only because of what others have reserved and may not use. Null: the step may run. */
export type BudgetAnswer =
  | { readonly kind: 'later'; readonly at: Date }
  | { readonly kind: 'broken'; readonly broken: readonly BrokenLimit[] }
  | null

export interface BudgetGateOptions {
  readonly run: BudgetedRun
  readonly lease: Lease
  /** True when no worker has executed the run before. */
  readonly fresh: boolean
  readonly newId: IdSource
  readonly charge: (request: ChargeRequest) => Promise<ChargeReply | null>
  /** Nothing is refused. */
  readonly muted: boolean
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  /** Told which version of the tenant's policies the ledger has seen. */
  readonly onPolicies: (version: number) => void
  /** Called before its first charge, with the holder that it names, and when it has made its last one under this lease. */
  readonly onReserving: (holder: string) => void
  readonly onClosed: (holder: string) => void
}
