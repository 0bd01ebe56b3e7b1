import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  isBrokenCircuitError,
} from 'cockatiel'
import { unrecorded } from '../../domains/budgets/budgets.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { RecordStep } from '../kernel/kernel.ts'

/** What follows when a run's trace can't be written. The checkpoint is never optional. */
export const ObservabilityMode = Object.freeze({
  /** The run fails, reason `OBSERVABILITY`. */
  STRICT: 'STRICT',
  /** The run goes on; `observability` says `DEGRADED`. */
  DEGRADED: 'DEGRADED',
  /** The run goes on; `observability` says `NONE`. */
  PERMISSIVE: 'PERMISSIVE',
})
export type ObservabilityMode = keyof typeof ObservabilityMode

export interface ObservabilityGuardOptions {
  readonly mode: ObservabilityMode
  /** Writes a step's row: checkpoint and trace in one statement. */
  readonly record: (record: RecordStep) => Promise<unknown>
  readonly log: Logger
  readonly metrics: Metrics
}

/** Errors that say nothing about the trace: whoever gets them must not try the checkpoint alone. */
function isAboutLease(error: unknown): boolean {
  return isRetryable(error) || (error instanceof AppError && error.code === 'LEASE_LOST')
}

/**
 * Governs the trace of steps: the input, attributes and usage in a step's row. Normally one statement writes all; if
 * that fails, the checkpoint alone is written with a `trace_gap` and its reason. A gap is recorded, never hidden. A
 * circuit breaker stops trying the trace for a while once it has failed several times in a row.
 */
export class ObservabilityGuard {
  readonly #options: ObservabilityGuardOptions
  readonly #breaker: CircuitBreakerPolicy
  /** True from a failure to the next success: only then do traces go through the breaker. */
  #shaky = false
  #openUntilMs = 0

  constructor(options: ObservabilityGuardOptions) {
    this.#options = options
    // What the lease's loss or an absent database says does not concern it: it must not open for that.
    this.#breaker = circuitBreaker(
      handleWhen((error) => !isAboutLease(error)),
      { halfOpenAfter: limits.breakerOpenMs, breaker: new ConsecutiveBreaker(limits.breakerFailures) },
    )
    this.#breaker.onBreak(() => {
      this.#openUntilMs = Date.now() + limits.breakerOpenMs
    })
  }

  /** False while the breaker is open: traces are not even tried. After its time they are: only a try can close it. */
  mayTrace(): boolean {
    return this.#breaker.state !== CircuitState.Open || Date.now() >= this.#openUntilMs
  }

  /** Feeds a failure outside of steps, as of a trace that could not be started, to the breaker. */
  traceFailed(error: unknown, runId: string): void {
    this.#gap(error, runId)
    this.#count(error)
  }

  /**
   * Records a step. Resolves to null, or to why its trace is missing. Fails with `OBSERVABILITY` in mode STRICT after
   * the checkpoint is written, and with the database's error when not even the checkpoint could be.
   */
  record(record: RecordStep): Promise<string | null> {
    const throughBreaker = this.#shaky // past it while all is well: it costs more than the rest of a step
    const recording = throughBreaker ? this.#throughBreaker(record) : this.#options.record(record)
    return recording.then(
      () => null,
      (error) => {
        if (!throughBreaker) this.#count(error)
        return this.#recordCheckpoint(record, error)
      },
    )
  }

  async #recordCheckpoint(record: RecordStep, error: unknown): Promise<string> {
    if (isAboutLease(error)) throw error
    const gap = messageOf(error)
    await this.#options.record(checkpointOnly(record, gap))
    this.#gap(error, record.lease.runId)
    if (this.#options.mode !== ObservabilityMode.STRICT) return gap
    throw new AppError('OBSERVABILITY', `the trace of step ${record.step.key} could not be written: ${gap}`)
  }

  /** While it is open nothing is tried; after its time one trace is, for which others wait, and which may close it. */
  async #throughBreaker(record: RecordStep): Promise<void> {
    try {
      await this.#breaker.execute(() => this.#options.record(record))
      this.#shaky = false
    } catch (error) {
      if (isBrokenCircuitError(error)) throw new Error('the trace store is failing, not tried')
      throw error
    }
  }

  /** Tells the breaker of a failure. Thrown inside it: an open one does not call, and a rejection would be nobody's. */
  #count(error: unknown): void {
    if (isAboutLease(error)) return
    this.#shaky = true
    this.#breaker.execute(() => Promise.reject(error)).catch(() => undefined)
  }

  #gap(error: unknown, runId: string): void {
    this.#options.metrics.counter('concordat_trace_gaps_total').inc({})
    this.#options.log.warn({ error, runId }, 'a trace could not be written')
  }
}

/** What the step used is settled all the same: it was spent, though its row will not say so. */
function checkpointOnly({ lease, step, stored, charge }: RecordStep, gap: string): RecordStep {
  const trace = { input: null, attributes: null, tokensIn: null, tokensOut: null, costNanoUsd: null, latencyMs: null }
  return { lease, stored, step: { ...step, ...trace, traceGap: gap }, ...(charge && { charge: unrecorded(charge) }) }
}

function messageOf(error: unknown): string {
  return safeText(error instanceof Error ? error.message : String(error), limits.errorMessageCharsMax)
}
