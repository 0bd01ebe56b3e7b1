import {
  amountOf,
  type BrokenLimit,
  type BudgetLimit,
  brokenByNeed,
  type ChargeLine,
  isMeterOfRun,
  type Meter,
  type MeterMetric,
  shownAmount,
} from '../../domains/budgets/budgets.ts'
import type { WindowUses } from '../../domains/policies/policies.ts'
import type { JsonObject } from '../../foundation/json.ts'
import type { StepRow } from '../kernel/kernel.ts'
import { type BudgetLine, isHolding } from './budget-lines.ts'
import type { BudgetedStep } from './budget-port.ts'
import { boundOf, type StepBound } from './step-bound.ts'
import type { StepResult } from './step-spec.ts'
import { needOf, useOf, useOfAborted } from './step-usage.ts'

const NOTHING: ReadonlyMap<BudgetLine, bigint> = new Map()

/** A step in flight, and what is reserved for it: nothing yet. Where no limit bounds the run, that is all it costs. */
export class HeldStep {
  readonly #step: BudgetedStep
  #amounts: Map<BudgetLine, bigint> | undefined
  #approved: Map<BudgetLine, bigint> | undefined
  #bound: StepBound | undefined
  /** The attempt whose code runs: from then on it may bill. Null: none does. */
  running: number | null = null
  /** What an aborted step has told of its use. */
  result: StepResult | null = null

  constructor(step: BudgetedStep) {
    this.#step = step
  }

  get kind(): string {
    return this.#step.kind
  }

  get declared(): StepBound | undefined {
    return this.#step.declared
  }

  /** Who approved the step, where that made room for it; null: nobody had to. */
  get approvedBy(): string | null {
    return this.#step.approvedBy ?? null
  }

  get amounts(): ReadonlyMap<BudgetLine, bigint> {
    return this.#amounts ?? NOTHING
  }

  /** Of that: beyond a limit, by an approval, or because the step had begun before the limit. */
  get approved(): ReadonlyMap<BudgetLine, bigint> {
    return this.#approved ?? NOTHING
  }

  /** What it must find room for on the line, which is one of its lines from then on. */
  need(line: BudgetLine): bigint {
    const { kind, declared, estimate } = this.#step
    this.#bound ??= boundOf(declared, estimate)
    const amount = needOf(line.meter.metric, kind, this.#bound)
    this.#amounts ??= new Map()
    this.#amounts.set(line, amount)
    return amount
  }

  approve(line: BudgetLine, amount: bigint): void {
    this.#approved ??= new Map()
    this.#approved.set(line, amount)
  }
}

/** What these steps hold of a line beyond its limits, the first ones as much as they can. */
export function shareOut(line: BudgetLine, beyond: bigint, steps: readonly HeldStep[]): void {
  let left = beyond
  for (const step of steps) {
    const amount = step.amounts.get(line) ?? 0n
    const share = amount < left ? amount : left
    step.approve(line, share)
    left -= share
  }
}

/** Pure. What recording an attempt settles on one line, and gives back of what was reserved for it. */
export function settlement(line: BudgetLine, held: HeldStep | undefined, row: StepRow): Partial<ChargeLine> {
  const { metric } = line.meter
  const release = held?.amounts.get(line) ?? 0n
  const releaseApproved = held?.approved.get(line) ?? 0n
  const within = release - releaseApproved
  const { amount, uncosted } = useOf(metric, row)
  const aborted = row.error?.code === 'STEP_TIMEOUT' || row.status === 'succeeded'
  // It was to use something and does not say what: nobody gives that money back.
  if (amount === null && release > 0n && aborted) {
    return { release, releaseApproved, settled: release, estimated: release, overrun: releaseApproved }
  }
  const settled = amount ?? 0n
  const declared = metric === 'cost_usd' ? held?.declared?.costNanoUsd : held?.declared?.tokens
  const overDeclared = isSpent(line) && (declared ?? null) !== null && settled > BigInt(declared ?? 0)
  const overrun = most(settled - within, 0n)
  return { release, releaseApproved, settled, overrun, uncosted: uncosted ? 1 : 0, overDeclared }
}

/** Pure. True for a settlement that the recorded step tells all of: such need no row of the ledger. */
export function isToldByStep(changes: Partial<ChargeLine>): boolean {
  const { overrun = 0n, estimated = 0n, unrecorded = 0n, uncosted = 0, overDeclared = false } = changes
  return overrun === 0n && estimated === 0n && unrecorded === 0n && uncosted === 0 && !overDeclared
}

type ClosingLine = Pick<ChargeLine, 'release' | 'releaseApproved' | 'settled' | 'estimated' | 'unrecorded' | 'overrun'>

/** Pure. What is settled on one line, and given back, of steps that were aborted and of what no step needed. */
function closing(line: BudgetLine, steps: readonly HeldStep[]): ClosingLine {
  const nothing = { releaseApproved: 0n, settled: 0n, estimated: 0n, unrecorded: 0n, overrun: 0n }
  const changes = { release: line.free, ...nothing }
  for (const held of steps) {
    const reserved = held.amounts.get(line)
    if (reserved === undefined) continue
    const approved = held.approved.get(line) ?? 0n
    changes.release += reserved
    changes.releaseApproved += approved
    if (held.running === null) continue
    const used = useOfAborted(line.meter.metric, held.kind, held.result)
    const settled = used ?? reserved
    changes.settled += settled
    if (used === null) changes.estimated += settled
    else if (isSpent(line)) changes.unrecorded += settled
    changes.overrun += most(settled - (reserved - approved), 0n)
  }
  return changes
}

/** What is to be settled and given back, by line; of what is kept here, only what no recorded step tells. */
export function closings(
  lines: readonly BudgetLine[],
  held: readonly HeldStep[],
): ReadonlyMap<BudgetLine, Partial<ChargeLine>> {
  const all = new Set([...lines.filter(isHolding), ...held.flatMap(({ amounts }) => [...amounts.keys()])])
  const closed = [...all].map((line) => [line, closing(line, held)] as const)
  for (const [line, use] of closed) line.own &&= isToldByStep(use) && use.settled === 0n
  return new Map(closed.filter(([{ own }]) => !own))
}

/** Limits that the step would break by what is seen of them. */
export function brokenByNext(lines: readonly BudgetLine[], held: HeldStep, runId: string): BrokenLimit[] {
  return lines.flatMap((line) => {
    const asked = { meter: line.meter, used: line.seen, need: held.need(line), runId }
    return line.limits.flatMap((limit) => brokenByNeed(limit, asked) ?? [])
  })
}

/** Pure. Known use in the place of estimated use. */
export function correction(estimated: bigint, used: bigint): Partial<ChargeLine> {
  const overrun = most(used - estimated, 0n)
  return { settled: used - estimated, estimated: -estimated, unrecorded: used, overrun }
}

/** Pure. What a step used beyond what was reserved for it, as its attributes tell it; null when nothing. */
export function overrunOf(lines: readonly ChargeLine[], approvedBy: string | null): JsonObject | null {
  const over = new Map<MeterMetric, bigint>()
  for (const { meter, overrun } of lines) over.set(meter.metric, most(over.get(meter.metric) ?? 0n, overrun))
  const beyond = [...over].filter(([, amount]) => amount > 0n)
  if (beyond.length === 0) return null
  return {
    ...Object.fromEntries(
      beyond.map(([metric, amount]) => [`concordat.overrun.${metric}`, shownAmount(metric, amount)]),
    ),
    ...(approvedBy !== null && { 'concordat.overrun.approved_by': approvedBy }),
  }
}

/**
 * Pure. What a run's steps saw last of limits that add up a period, by the policy's name. `isKept` is null for a limit
 * that no step was held against: what is used says whether it is met.
 */
export function windowUses(
  lines: readonly BudgetLine[],
  runId: string,
  isKept: (line: BudgetLine, limit: BudgetLimit) => boolean | null,
): WindowUses {
  const isAncestors = (meter: Meter) => meter.subject.startsWith('run/') && !isMeterOfRun(meter, runId)
  const periods = lines.filter(({ meter, opened }) => meter.period !== 'run' && opened && !isAncestors(meter))
  return new Map(
    periods.flatMap((line) =>
      line.limits.map((limit) => {
        const { meter, seen } = line
        const value = shownAmount(meter.metric, seen)
        const met = isKept(line, limit) ?? seen <= amountOf(limit)
        return [limit.name, { version: limit.policyVersion ?? 0, value, met }] as const
      }),
    ),
  )
}

/** Of what a step's code can declare and report. */
export function isSpent({ meter: { metric } }: BudgetLine): boolean {
  return metric === 'cost_usd' || metric === 'tokens'
}

export function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
