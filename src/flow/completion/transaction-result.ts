import { AppError } from '../../foundation/app-error.ts'
import type { UndoneOperation } from './rollback-stack.ts'

/** How far a completion has come. `COMMITTED` is the moment of truth; before it nothing of the run's end exists. */
export const TransactionPhase = Object.freeze({
  NOT_STARTED: 'NOT_STARTED',
  INCIDENT_CREATED: 'INCIDENT_CREATED',
  POLICY_EVALUATED: 'POLICY_EVALUATED',
  TRACE_COMPLETED: 'TRACE_COMPLETED',
  COMMITTED: 'COMMITTED',
  EVENTS_PUBLISHED: 'EVENTS_PUBLISHED',
  ROLLED_BACK: 'ROLLED_BACK',
  FAILED: 'FAILED',
})
export type TransactionPhase = keyof typeof TransactionPhase

/** What one domain did for a run's end. */
export interface DomainResult {
  readonly domain: string
  readonly action: string
  readonly resultId: string | null
  readonly success: boolean
  readonly error: string | null
  readonly at: Date
}

export interface TransactionResultFields {
  readonly runId: string
  readonly phase: TransactionPhase
  readonly domains: readonly DomainResult[]
  readonly durationMs: number
}

/** A completion that is committed. `published()` waits until the relay has published all of the run's events. */
export class TransactionResult {
  readonly runId: string
  /** `COMMITTED`, or `EVENTS_PUBLISHED` on the result that `published()` resolves to. */
  readonly phase: TransactionPhase
  readonly domains: readonly DomainResult[]
  readonly eventsPublished: boolean
  readonly durationMs: number
  readonly #untilPublished: () => Promise<void>

  constructor(fields: TransactionResultFields, untilPublished: () => Promise<void>) {
    this.runId = fields.runId
    this.phase = fields.phase
    this.domains = fields.domains
    this.eventsPublished = fields.phase === TransactionPhase.EVENTS_PUBLISHED
    this.durationMs = fields.durationMs
    this.#untilPublished = untilPublished
  }

  /** The same result at `EVENTS_PUBLISHED`. Rejects when the events are not published within a minute. */
  async published(): Promise<TransactionResult> {
    await this.#untilPublished()
    const { runId, domains, durationMs } = this
    return new TransactionResult(
      { runId, phase: TransactionPhase.EVENTS_PUBLISHED, domains, durationMs },
      this.#untilPublished,
    )
  }
}

/** A completion that did not commit: all of it was undone. `phase` is what it had reached, `cause` is why. */
export class TransactionFailed extends AppError {
  readonly runId: string
  readonly phase: TransactionPhase
  /** The results up to and including the domain that refused, which is the last and has `success: false`. */
  readonly domains: readonly DomainResult[]
  /** What participants had done elsewhere and was undone, the latest first. */
  readonly undone: readonly UndoneOperation[]

  constructor(
    runId: string,
    phase: TransactionPhase,
    domains: readonly DomainResult[],
    cause: unknown,
    undone: readonly UndoneOperation[] = [],
  ) {
    const refused = domains.at(-1)
    const why = cause instanceof Error ? cause.message : String(cause)
    super('TRANSACTION_FAILED', `${refused?.domain ?? 'the contract'} refused after ${phase}: ${why}`, {
      cause,
      details: { runId, phase, domain: refused?.domain ?? null },
    })
    this.name = 'TransactionFailed'
    this.runId = runId
    this.phase = phase
    this.domains = domains
    this.undone = undone
  }

  withUndone(undone: readonly UndoneOperation[]): TransactionFailed {
    return new TransactionFailed(this.runId, this.phase, this.domains, this.cause, undone)
  }

  /** The domain that refused; `audit` when the contract itself could not be met. */
  get refusedBy(): string {
    return this.domains.find((result) => !result.success)?.domain ?? 'audit'
  }
}
