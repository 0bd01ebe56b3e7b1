import { isUncosted, type RunTotals } from '../../domains/runs/runs.ts'
import type { StepRow } from '../kernel/kernel.ts'

const NOTHING: RunTotals = {
  steps: 0,
  failedSteps: 0,
  traceGaps: 0,
  toolCalls: 0,
  uncostedSteps: 0,
  tokensIn: null,
  tokensOut: null,
  costNanoUsd: null,
}

const NO_USAGE = { tokensIn: null, tokensOut: null, costNanoUsd: null }

/** The sums of a run's recorded steps, for as long as this process has seen each of them committed. */
export class StepTally {
  #totals: RunTotals | null

  /** `fromStart` false: other workers have recorded steps before. */
  constructor(fromStart: boolean) {
    this.#totals = fromStart ? NOTHING : null
  }

  /** Null: only the database knows. */
  get totals(): RunTotals | null {
    return this.#totals
  }

  /** A step that was recorded; with a trace gap, without its usage. */
  add(step: StepRow, gap: string | null): void {
    const { kind, status } = step
    if (this.#totals === null || (status !== 'succeeded' && status !== 'failed')) return
    const before = this.#totals
    const { tokensIn, tokensOut, costNanoUsd } = gap === null ? step : NO_USAGE
    this.#totals = {
      steps: before.steps + 1,
      failedSteps: before.failedSteps + (status === 'failed' ? 1 : 0),
      traceGaps: before.traceGaps + (gap === null ? 0 : 1),
      toolCalls: before.toolCalls + (kind === 'tool' ? 1 : 0),
      uncostedSteps: before.uncostedSteps + (isUncosted({ kind, status, tokensIn, tokensOut, costNanoUsd }) ? 1 : 0),
      tokensIn: sum(before.tokensIn, tokensIn),
      tokensOut: sum(before.tokensOut, tokensOut),
      costNanoUsd: sum(before.costNanoUsd, costNanoUsd),
    }
  }

  /** A step of which it is not known whether or how it was recorded. */
  lose(): void {
    this.#totals = null
  }
}

/** Absent is not zero. */
function sum<Amount extends number | bigint>(total: Amount | null, more: Amount | null): Amount | null {
  if (total === null || more === null) return total ?? more
  return ((total as number) + (more as number)) as Amount
}
