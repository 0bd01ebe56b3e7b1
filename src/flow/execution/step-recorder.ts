import type { RunTotals } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { EncodedPayload } from '../../foundation/payload-codec.ts'
import type { StepRow } from '../kernel/kernel.ts'
import type { ObservabilityGuard } from './observability-guard.ts'
import type { RunControl } from './run-control.ts'
import type { StepGate } from './step-gate.ts'
import type { StepSpec, StepWrite } from './step-spec.ts'
import { StepTally } from './step-tally.ts'

/** A step that the agent's code has asked for, under its key. */
export interface PlannedStep {
  readonly spec: StepSpec
  readonly key: string
  readonly seq: number
  readonly input: EncodedPayload
  readonly startedAt: Date
  /** True once it has a row. */
  stored: boolean
}

export interface StepRecorderOptions {
  readonly control: RunControl
  readonly guard: ObservabilityGuard
  readonly gate: StepGate
  readonly clock: Clock
}

/** Records the steps of one run, with what they change in the ledger of budgets, and adds them up. */
export class StepRecorder {
  readonly #options: StepRecorderOptions
  readonly #tally: StepTally

  constructor(options: StepRecorderOptions) {
    this.#options = options
    this.#tally = new StepTally(options.control.claim.fresh)
  }

  /** Sums over the steps that are recorded; null when only the database knows. */
  get totals(): RunTotals | null {
    return this.#tally.totals
  }

  /** From here on only the database knows what the run has used. */
  lose(): void {
    this.#tally.lose()
  }

  /** Resolves after the commit that holds it. Fails with `LEASE_LOST`, and as the guard of its trace does. */
  record(step: PlannedStep, write: StepWrite): Promise<void> {
    const { control, gate, guard } = this.#options
    const lease = control.claim
    const planned = this.#row(step, write)
    const recording = gate.budget.record(planned, (use) => {
      if (use === null) return guard.record({ lease, step: planned, stored: step.stored })
      const { charge, attributes } = use
      const row = attributes ? { ...planned, attributes: withMore(planned.attributes, attributes) } : planned
      return guard.record({ lease, step: row, stored: step.stored, charge })
    })
    return recording.then(
      (gap) => {
        this.#tally.add(planned, gap)
        step.stored = true
      },
      (error) => {
        this.#tally.lose()
        throw error
      },
    )
  }

  #row({ spec, key, seq, input, startedAt }: PlannedStep, write: StepWrite): StepRow {
    const { status, attempt, dueAt = null, output = null, error = null, result } = write
    const ended = status === 'succeeded' || status === 'failed'
    const endedAt = ended ? this.#options.clock.now() : null
    return {
      key,
      seq,
      kind: spec.kind,
      name: spec.name,
      status,
      attempt,
      dueAt,
      startedAt,
      endedAt,
      inputDigest: input.digest,
      input,
      output,
      error,
      traceGap: null,
      tokensIn: result?.tokensIn ?? null,
      tokensOut: result?.tokensOut ?? null,
      costNanoUsd: result?.costNanoUsd ?? null,
      latencyMs: result?.latencyMs ?? null, // what the step says: what was measured is in its times
      attributes: result?.attributes ? JSON.stringify(result.attributes) : null,
    }
  }
}

function withMore(attributes: string | null, more: object): string {
  return JSON.stringify({ ...(attributes === null ? {} : JSON.parse(attributes)), ...more })
}
