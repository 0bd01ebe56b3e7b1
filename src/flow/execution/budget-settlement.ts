import type { ChargeLine } from '../../domains/budgets/budgets.ts'
import type { StepRow } from '../kernel/kernel.ts'
import type { BudgetLine } from './budget-lines.ts'
import type { StepBound } from './step-bound.ts'
import type { StepResult } from './step-spec.ts'
import { useOf, useOfAborted } from './step-usage.ts'

/** A step in flight, and what is reserved for it. */
export interface HeldStep {
  readonly kind: string
  readonly declared: StepBound | undefined
  readonly amounts: ReadonlyMap<BudgetLine, bigint>
  /** The attempt whose code runs: from then on it may bill. Null: none does. */
  running: number | null
  /** What an aborted step has told of its use. */
  result: StepResult | null
}

/** Pure. What recording an attempt settles on one line, and gives back of what was reserved for it. */
export function settlement(line: BudgetLine, held: HeldStep | undefined, row: StepRow): Partial<ChargeLine> {
  const { metric } = line.meter
  const release = held?.amounts.get(line) ?? 0n
  const { amount, uncosted } = useOf(metric, row)
  const aborted = row.error?.code === 'STEP_TIMEOUT' || row.status === 'succeeded'
  // It was to use something and does not say what: nobody gives that money back.
  if (amount === null && release > 0n && aborted) return { release, settled: release, estimated: release }
  const settled = amount ?? 0n
  const declared = metric === 'cost_usd' ? held?.declared?.costNanoUsd : held?.declared?.tokens
  const overDeclared = isSpent(line) && (declared ?? null) !== null && settled > BigInt(declared ?? 0)
  return { release, settled, overrun: most(settled - release, 0n), uncosted: uncosted ? 1 : 0, overDeclared }
}

/** Pure. What is settled on one line, and given back, of steps that were aborted and of what no step needed. */
export function closing(line: BudgetLine, steps: readonly HeldStep[]): Partial<ChargeLine> {
  const changes = { release: line.free, settled: 0n, estimated: 0n, unrecorded: 0n, overrun: 0n }
  for (const held of steps) {
    const reserved = held.amounts.get(line)
    if (reserved === undefined) continue
    changes.release += reserved
    if (held.running === null) continue
    const used = useOfAborted(line.meter.metric, held.kind, held.result)
    const settled = used ?? reserved
    changes.settled += settled
    if (used === null) changes.estimated += settled
    else if (isSpent(line)) changes.unrecorded += settled
    changes.overrun += most(settled - reserved, 0n)
  }
  return changes
}

/** Pure. Known use in the place of estimated use. */
export function correction(estimated: bigint, used: bigint): Partial<ChargeLine> {
  const overrun = most(used - estimated, 0n)
  return { settled: used - estimated, estimated: -estimated, unrecorded: used, overrun }
}

/** Of what a step's code can declare and report. */
function isSpent({ meter: { metric } }: BudgetLine): boolean {
  return metric === 'cost_usd' || metric === 'tokens'
}

export function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

export function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
