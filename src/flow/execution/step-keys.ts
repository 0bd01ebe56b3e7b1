import type { StepRecord } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { limits } from '../../limits.ts'

/** A step that the agent's code asks for: what must be the same when the code runs again. */
export interface AskedStep {
  readonly kind: string
  readonly name: string
  readonly inputDigest: string
}

/**
 * Gives each step its key, name and occurrence (`fetch#2`), and finds what is recorded under it. One counter a run: on
 * resume the code runs again from the top and must ask for the same steps.
 */
export class StepKeys {
  readonly #recorded: ReadonlyMap<string, StepRecord>
  readonly #occurrences = new Map<string, number>()
  #asked = 0

  constructor(recorded: readonly StepRecord[]) {
    this.#recorded = new Map(recorded.map((step) => [step.key, step]))
  }

  /**
   * Fails with `INVALID_REQUEST` for a bad name or too many steps, with `RUN_DIVERGED` when another kind or input is
   * recorded under the key.
   */
  next({ kind, name, inputDigest }: AskedStep): { key: string; seq: number; recorded: StepRecord | undefined } {
    checkStepName(name)
    const occurrence = (this.#occurrences.get(name) ?? 0) + 1
    this.#occurrences.set(name, occurrence)
    const key = `${name}#${occurrence}`
    const seq = ++this.#asked
    if (seq > limits.stepsPerRunMax) {
      throw new AppError('INVALID_REQUEST', `a run has at most ${limits.stepsPerRunMax} steps; ${key} is one more`)
    }
    const recorded = this.#recorded.get(key)
    if (recorded && recorded.kind !== kind) {
      throw diverged(key, `was a ${recorded.kind} step and is a ${kind} step now`)
    }
    if (recorded && recorded.inputDigest !== inputDigest) throw diverged(key, 'was recorded with another input')
    return { key, seq, recorded }
  }
}

function diverged(key: string, how: string): AppError {
  return new AppError('RUN_DIVERGED', `step ${key} ${how}: the agent's code does not do what it did before`)
}

function checkStepName(name: unknown): void {
  const fits = typeof name === 'string' && name.length > 0 && name.length <= limits.stepNameCharsMax
  if (fits && name.isWellFormed() && !name.includes('\0')) return
  throw new AppError(
    'INVALID_REQUEST',
    `a step's name has 1 to ${limits.stepNameCharsMax} characters, no NUL, no lone surrogate`,
  )
}
