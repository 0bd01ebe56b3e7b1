import {
  amountOf,
  type BudgetedRun,
  type BudgetLimit,
  type ChargeLine,
  isMeterOfRun,
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
  /** The least that any limit allows. */
  lowest: bigint
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
  /** Kept by this worker alone, without a row: the run's own, and less than half of each limit is used and reserved. */
  own: boolean
  /** Reserved for steps under way while it was kept so, and not yet in the ledger. */
  ownReserved: bigint
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

  /**
   * Follows the limits that hold for the run now. Costs nothing while they and their periods are the same. `mayOwn`: the
   * run has recorded nothing yet.
   */
  renew(limits: readonly BudgetLimit[], now: Date, mayOwn: boolean): void {
    if (limits === this.#limits && now.getTime() < this.#validUntilMs) return
    const before = new Map<string, BudgetLine>()
    for (const line of this.#past) before.set(meterKey(line.meter), line)
    for (const line of this.#current) before.set(meterKey(line.meter), line)
    this.#limits = limits
    this.#validUntilMs = Number.POSITIVE_INFINITY
    this.#current = metersOf(this.#run, limits, now).map(({ meter, key, limits: bounding }) => {
      const line = before.get(key) ?? emptyLine(meter, mayOwn && this.#isOwn(meter))
      before.delete(key)
      setLimits(line, bounding)
      const endMs = periodEnd(meter.period, meter.periodStart)?.getTime()
      if (endMs !== undefined && endMs < this.#validUntilMs) this.#validUntilMs = endMs
      return line
    })
    this.#past = [...before.values()]
    for (const line of this.#past) line.own = false // steps may begin that it does not know of
  }

  /** Others may use what the run's own limits leave: from here on all of it is in the ledger. */
  share(): void {
    for (const line of this.#current) line.own = false
  }

  #isOwn(meter: Meter): boolean {
    return meter.period === 'run' && isMeterOfRun(meter, this.#run.runId)
  }
}

function emptyLine(meter: Meter, own: boolean): BudgetLine {
  const nothing = { free: 0n, asking: 0n, most: 0n, seen: 0n, ownReserved: 0n }
  return { meter, limits: [], least: null, lowest: 0n, ...nothing, opened: false, own }
}

/** Pure. Whether a line that is kept here can still be, with so much more: no limit is half used, so none is told of. */
export function staysOwn({ own, lowest, seen, ownReserved }: BudgetLine, more: bigint): boolean {
  return own && 2n * (seen + ownReserved + more) < lowest
}

function setLimits(line: BudgetLine, limits: readonly BudgetLimit[]): void {
  line.limits = limits
  line.least = null
  for (const [i, limit] of limits.entries()) {
    const amount = amountOf(limit)
    if (i === 0 || amount < line.lowest) line.lowest = amount
    if (limit.effect !== 'warn' && (line.least === null || amount < line.least)) line.least = amount
  }
}

/** What there is for a step without asking the ledger: all that it needs, or what the run has reserved there already. */
export function takeHere(line: BudgetLine, need: bigint): bigint {
  line.most = line.most > need ? line.most : need
  line.own &&= staysOwn(line, need)
  const taken = line.own || need < line.free ? need : line.free
  if (line.own) line.ownReserved += taken
  else line.free -= taken
  return taken
}

/** The step does not run after all. */
export function giveBackHere(line: BudgetLine, taken: bigint): void {
  if (line.own) line.ownReserved -= taken
  else line.free += taken
}

/** A line of a charge that changes nothing yet, but brings along what was reserved without the ledger. */
export function chargeLine(line: BudgetLine, changes: Partial<ChargeLine>): ChargeLine {
  const { meter, limits, ownReserved: carried } = line
  line.ownReserved = 0n
  return { meter, limits, carried, ...NO_CHANGE, ...changes }
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
