import type { ChargeLine } from '../../domains/budgets/budgets.ts'
import { limits } from '../../limits.ts'
import { type BudgetLine, chargeLine } from './budget-lines.ts'
import { correction, type HeldStep } from './budget-settlement.ts'
import type { StepResult } from './step-spec.ts'
import { useOfAborted } from './step-usage.ts'

/** A step that was settled as estimated, and may tell yet what it used. */
interface EstimatedStep {
  readonly kind: string
  readonly amounts: ReadonlyMap<BudgetLine, bigint>
  readonly untilMs: number
}

/** Aborted steps of one run that may say within 30 s what they used. */
export class LateUsage {
  readonly #estimated = new Map<string, EstimatedStep>()

  expect(key: string, { kind, amounts }: HeldStep, isEstimated: (line: BudgetLine) => boolean, nowMs: number): void {
    const estimated = new Map([...amounts].filter(([line, amount]) => amount > 0n && isEstimated(line)))
    if (estimated.size > 0) this.#estimated.set(key, { kind, amounts: estimated, untilMs: nowMs + limits.lateUsageMs })
  }

  /** What a step's known use changes where it was estimated, once; nothing when it comes too late, or says nothing. */
  take(
    key: string,
    result: StepResult | null,
    nowMs: number,
  ): readonly { readonly line: BudgetLine; readonly change: ChargeLine }[] {
    const step = this.#estimated.get(key)
    this.#estimated.delete(key)
    if (!step || result === null || nowMs > step.untilMs) return []
    return [...step.amounts].flatMap(([line, estimated]) => {
      const used = useOfAborted(line.meter.metric, step.kind, result)
      return used === null ? [] : [{ line, change: chargeLine(line, correction(estimated, used)) }]
    })
  }
}
