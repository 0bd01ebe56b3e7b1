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
import type { Clock } from '../../foundation/clock.ts'

/** What one execution of a run knows of one row of the ledger, and holds of it. */
export interface BudgetLine {
  readonly meter: Meter
  /** Its `meterKey`. */
  readonly key: string
  limits: readonly BudgetLimit[]
  /** The least that a limit allows which refuses anything; null where all only warn. */
  least: bigint | null
  /** The least that any limit allows. */
  lowest: bigint
  /** Reserved, and not yet for any step. */
  free: bigint
  /** Reserved ahead when the limits left more: to be given back with the next charge. */
  revoked: bigint
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
  /** True when its period has followed another one: steps that are under way since then count in that one. */
  readonly follows: boolean
  /** What the run has used already may have to be counted when it joins the row. */
  readonly recounts: boolean
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
    return [...this.#past, ...this.#current]
  }

  /** Those of the past that still hold something; they are the caller's now to give back. */
  takePast(): readonly BudgetLine[] {
    const past = this.#past.filter(isHolding)
    this.#past = []
    return past
  }

  /**
   * Follows the limits that hold for the run now; true when they are others. Costs nothing while they and their periods
   * are the same. What a run has begun to count it counts until it ends or the period is over, also while no limit bounds
   * it: one may come back. `mayOwn`: the run has recorded nothing yet.
   */
  renew(limits: readonly BudgetLimit[], clock: Clock, mayOwn: boolean): boolean {
    const isSame = limits === this.#limits || (limits.length === 0 && this.#limits.length === 0)
    if (isSame && this.#validUntilMs === Number.POSITIVE_INFINITY) return false
    const nowMs = clock.nowMs()
    if (isSame && nowMs < this.#validUntilMs) return false
    const before = new Map<string, BudgetLine>()
    for (const line of this.all) before.set(line.key, line)
    const isOther = limits !== this.#limits
    this.#limits = limits
    const counted = new Set([...before.values()].map(({ meter }) => seriesOf(meter)))
    const bound = metersOf(this.#run, limits, new Date(nowMs)).map(({ meter, key, limits: bounding }) => {
      const own = mayOwn && this.#isOwn(meter)
      const follows = counted.has(seriesOf(meter))
      const line = before.get(key) ?? emptyLine(meter, key, { own, follows, recounts: !mayOwn && !follows })
      before.delete(key)
      setLimits(line, bounding)
      return line
    })
    const isNow = ({ meter }: BudgetLine) => endMsOf(meter) > nowMs
    const unbound = [...before.values()].filter(isNow)
    for (const line of unbound) setLimits(line, [])
    this.#current = [...bound, ...unbound]
    this.#past = [...before.values()].filter((line) => !isNow(line))
    this.#validUntilMs = Math.min(...this.#current.map(({ meter }) => endMsOf(meter)))
    return isOther
  }

  /** Another execution of the run has counted in these. */
  goOn(meters: readonly Meter[]): void {
    if (meters.length === 0) return
    const known = new Set(this.all.map(({ key }) => key))
    const left = meters.filter((meter) => !known.has(meterKey(meter)))
    const kind = { own: false, follows: false, recounts: false }
    this.#current.push(...left.map((meter) => emptyLine(meter, meterKey(meter), kind)))
    this.#validUntilMs = Number.NEGATIVE_INFINITY
  }

  /** Others may use what the run's own limits leave: from here on all of it is in the ledger. */
  share(): void {
    for (const line of this.#current) line.own = false
  }

  #isOwn(meter: Meter): boolean {
    return meter.period === 'run' && isMeterOfRun(meter, this.#run.runId)
  }
}

type LineKind = Pick<BudgetLine, 'own' | 'follows' | 'recounts'>

function emptyLine(meter: Meter, key: string, kind: LineKind): BudgetLine {
  const nothing = { free: 0n, revoked: 0n, asking: 0n, most: 0n, seen: 0n, ownReserved: 0n }
  return { meter, key, limits: [], least: null, lowest: UNBOUND, ...nothing, opened: false, ...kind }
}

/** More than any amount. */
const UNBOUND = 2n ** 64n

function endMsOf({ period, periodStart }: Meter): number {
  return periodEnd(period, periodStart)?.getTime() ?? Number.POSITIVE_INFINITY
}

/** Meters of the same text count the same in one period after the other. */
function seriesOf({ subject, metric, period }: Meter): string {
  return `${subject}\n${metric}\n${period}`
}

/** Pure. Whether a line that is kept here can still be, with so much more: no limit is half used, so none is told of. */
export function staysOwn({ own, lowest, seen, ownReserved }: BudgetLine, more: bigint): boolean {
  return own && 2n * (seen + ownReserved + more) < lowest
}

function setLimits(line: BudgetLine, limits: readonly BudgetLimit[]): void {
  const before = line.least
  line.limits = limits
  line.least = null
  line.lowest = UNBOUND
  for (const limit of limits) {
    const amount = amountOf(limit)
    if (amount < line.lowest) line.lowest = amount
    if (limit.effect !== 'warn' && (line.least === null || amount < line.least)) line.least = amount
  }
  if (line.least === null || (before !== null && before <= line.least)) return
  line.revoked += line.free
  line.free = 0n
}

/** Whether something is reserved that no step needs. */
export function isHolding({ free, revoked }: BudgetLine): boolean {
  return free > 0n || revoked > 0n
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
  const { meter, key, limits, ownReserved: carried, opened, recounts, revoked } = line
  line.ownReserved = 0n
  line.revoked = 0n
  const release = (changes.release ?? 0n) + revoked
  return {
    meter,
    key,
    limits,
    carried,
    ...NO_CHANGE,
    joins: !opened,
    recounts: !opened && recounts,
    ...changes,
    release,
  }
}

const NO_CHANGE = {
  release: 0n,
  releaseApproved: 0n,
  need: 0n,
  begun: 0n,
  ahead: 0n,
  settled: 0n,
  overrun: 0n,
  estimated: 0n,
  unrecorded: 0n,
  uncosted: 0,
  overDeclared: false,
} as const
