import {
  amountOf,
  type BudgetedRun,
  type BudgetLimit,
  type ChargeLine,
  type Meter,
  meterKey,
  metersOf,
  periodEnd,
} from '../../domains/budgets/budgets.ts'

/** What one execution of a run knows of one row of the ledger, and holds of it. */
export interface BudgetLine {
  readonly meter: Meter
  limits: readonly BudgetLimit[]
  /** The least that a limit allows which refuses anything; null where all only warn. */
  least: bigint | null
  /** Reserved, and not yet for any step. */
  free: bigint
  /** Asked for ahead, in a flush that has not returned. */
  asking: bigint
  /** The most that a step has needed so far. */
  most: bigint
  /** Settled when it was heard of last, by whomever. */
  seen: bigint
  /** True once the row is known to be there. */
  opened: boolean
}

/** The lines of one run as limits come and go and periods pass. */
export class BudgetLines {
  readonly #run: BudgetedRun
  #limits: readonly BudgetLimit[] = []
  #current: BudgetLine[] = []
  /** Of limits and periods that are over: what they hold is to be given back. */
  #past: BudgetLine[] = []
  #validUntilMs = Number.POSITIVE_INFINITY

  constructor(run: BudgetedRun) {
    this.#run = run
  }

  get current(): readonly BudgetLine[] {
    return this.#current
  }

  get all(): readonly BudgetLine[] {
    return [...this.#current, ...this.#past]
  }

  /** Those of the past that still hold something; they are the caller's now to give back. */
  takePast(): readonly BudgetLine[] {
    const past = this.#past.filter(({ free }) => free > 0n)
    this.#past = []
    return past
  }

  /** Follows the limits that hold for the run now. Costs nothing while they and their periods are the same. */
  renew(limits: readonly BudgetLimit[], now: Date): void {
    if (limits === this.#limits && now.getTime() < this.#validUntilMs) return
    const before = new Map(this.#current.map((line) => [meterKey(line.meter), line]))
    this.#limits = limits
    this.#current = metersOf(this.#run, limits, now).map((bound) => {
      const key = meterKey(bound.meter)
      const line = before.get(key) ?? emptyLine(bound.meter)
      before.delete(key)
      line.limits = bound.limits
      line.least = leastOf(bound.limits)
      return line
    })
    this.#past.push(...before.values())
    const ends = this.#current.map(({ meter }) => periodEnd(meter.period, meter.periodStart)?.getTime())
    this.#validUntilMs = Math.min(...ends.map((end) => end ?? Number.POSITIVE_INFINITY))
  }
}

function emptyLine(meter: Meter): BudgetLine {
  return { meter, limits: [], least: null, free: 0n, asking: 0n, most: 0n, seen: 0n, opened: false }
}

function leastOf(limits: readonly BudgetLimit[]): bigint | null {
  const amounts = limits.filter(({ effect }) => effect !== 'warn').map(amountOf)
  return amounts.reduce<bigint | null>((least, amount) => (least === null || amount < least ? amount : least), null)
}

/** A line of a charge that changes nothing yet. */
export function chargeLine({ meter, limits }: BudgetLine, changes: Partial<ChargeLine>): ChargeLine {
  return { meter, limits, ...NO_CHANGE, ...changes }
}

const NO_CHANGE = {
  release: 0n,
  releaseApproved: 0n,
  need: 0n,
  earlier: 0n,
  ahead: 0n,
  settled: 0n,
  overrun: 0n,
  estimated: 0n,
  unrecorded: 0n,
  uncosted: 0,
  overDeclared: false,
} as const
