import type { BrokenLimit, Charge, ChargeLine, ChargeReply } from './charge.ts'
import { amountOf, type BudgetLimit, isMeterOfRun, type Meter, meterKey, shownAmount } from './meter.ts'

/** A row of the ledger. */
export interface LedgerRow {
  readonly meter: Meter
  settled: bigint
  reserved: bigint
  overrun: bigint
  estimated: bigint
  unrecorded: bigint
  uncosted: number
  /** The highest threshold of each policy that was told, in per cent. */
  told: { [policy: string]: number }
}

/** What a run has reserved of one row. */
export interface HeldAmount {
  readonly tenantId: string
  readonly runId: string
  readonly meter: Meter
  /** Null: nobody executes the run. */
  holder: string | null
  amount: bigint
  /** Of the amount: beyond a limit, by an approval, and in the row's overrun until it is given back. */
  approved: bigint
}

/** What is locked and read before charges are decided, by `meterKey` and `heldKey`. */
export interface LedgerState {
  readonly rows: ReadonlyMap<string, LedgerRow>
  /** What recorded steps of runs have used that join a row now, by `heldKey`. */
  readonly used: ReadonlyMap<string, bigint>
  readonly held: ReadonlyMap<string, HeldAmount>
  readonly policiesVersions: ReadonlyMap<string, number>
}

/** A limit of which a period's use has passed a share, told once a period and threshold. */
export interface Crossing {
  readonly tenantId: string
  /** The run whose step it was. */
  readonly runId: string
  readonly limit: BudgetLimit
  readonly meter: Meter
  readonly threshold: number
  readonly used: bigint
}

export interface DecidedCharges {
  /** As they are to be written. */
  readonly rows: readonly LedgerRow[]
  readonly held: readonly HeldAmount[]
  /** In the order of the charges. */
  readonly replies: readonly ChargeReply[]
  readonly crossings: readonly Crossing[]
}

/** Of a limit, in per cent. */
const THRESHOLDS = [50, 80, 95] as const
/** Of a limit: what is reserved ahead of need leaves the rest to steps that need it now. */
const AHEAD_PER_CENT = 80n
const AMOUNT_MAX = 2n ** 63n - 1n // of a bigint column

export function heldKey(runId: string, meter: Meter): string {
  return `${runId}\n${meterKey(meter)}`
}

/**
 * Pure. What becomes of charges that share a commit: first all that is given back and settled, which makes room; then
 * what steps need, in order, each on all of its lines or on none; then what is reserved ahead.
 */
export function decideCharges(charges: readonly Charge[], state: LedgerState): DecidedCharges {
  const books = new Books(state)
  for (const charge of charges) for (const line of charge.lines) books.settle(charge, line)
  for (const charge of charges) for (const line of charge.lines) books.admit(charge, line)
  const crossings = charges.flatMap((charge) => books.crossings(charge))
  const answers = charges.map((charge) => books.reserve(charge))
  const replies = charges.map((charge, i): ChargeReply => {
    const lines = charge.lines.map((line) => ({
      ahead: books.reserveAhead(charge, line),
      settled: books.settledOf(line),
      approved: books.approvedFor(line),
    }))
    return { ...answers[i]!, lines, policiesVersion: state.policiesVersions.get(charge.tenantId) ?? 0 }
  })
  return { rows: [...books.changed.values()], held: books.heldNow(), replies, crossings }
}

class Books {
  readonly changed = new Map<string, LedgerRow>()
  readonly #changedHeld = new Map<string, HeldAmount>()
  readonly #approved = new Map<ChargeLine, bigint>()
  readonly #state: LedgerState

  constructor(state: LedgerState) {
    this.#state = state
  }

  settle(charge: Charge, line: ChargeLine): void {
    if (line.joins) this.#join(charge, line)
    this.#hold(charge, line, line.carried)
    const released = this.#hold(charge, line, -line.release, -line.releaseApproved)
    const { settled, overrun, estimated, unrecorded, uncosted } = line
    const nothing = settled === 0n && overrun === 0n && estimated === 0n && unrecorded === 0n
    if (nothing && uncosted === 0 && released === 0n) return
    const row = this.#row(line.meter)
    row.settled = bounded(row.settled + line.settled)
    row.overrun = bounded(row.overrun + line.overrun)
    row.estimated = bounded(row.estimated + line.estimated)
    row.unrecorded = bounded(row.unrecorded + line.unrecorded)
    row.uncosted += line.uncosted
  }

  /** Two charges of one run that both believe to be its first: the row that the one makes tells the other. */
  #join({ tenantId, runId, holder }: Charge, { meter }: ChargeLine): void {
    const key = heldKey(runId, meter)
    if (this.#state.held.has(key) || this.#changedHeld.has(key)) return
    this.#changedHeld.set(key, { tenantId, runId, meter, holder, amount: 0n, approved: 0n })
    const used = this.#state.used.get(key) ?? 0n
    if (used === 0n) return
    const row = this.#row(meter)
    row.settled = bounded(row.settled + used)
  }

  /** Takes in steps that had begun before. What is used or begun already is no reason to refuse, but recorded as beyond. */
  admit(charge: Charge, line: ChargeLine): void {
    const hard = line.limits.filter(isRefusing)
    const { settled, overrun } = this.#read(line.meter)
    const beyond = hard.reduce((most, limit) => larger(most, settled - overrun - amountOf(limit)), 0n)
    if (beyond > 0n) this.#row(line.meter).overrun = overrun + beyond
    if (line.begun === 0n) return
    const room = larger(this.#room(charge, line, 100n, hard), 0n)
    const excess = larger(line.begun - room, 0n)
    this.#approved.set(line, excess)
    this.#hold(charge, line, line.begun, excess)
  }

  crossings({ tenantId, runId, lines }: Charge): Crossing[] {
    return lines
      .filter(({ settled, meter }) => settled > 0n && meter.metric !== 'requests_per_minute')
      .flatMap((line) => line.limits.flatMap((limit) => this.#crossed(line, limit)))
      .map((crossed) => ({ tenantId, runId, ...crossed }))
  }

  #crossed(line: ChargeLine, limit: BudgetLimit): Omit<Crossing, 'tenantId' | 'runId'>[] {
    const row = this.#row(line.meter)
    const max = amountOf(limit)
    const told = row.told[limit.name] ?? 0
    const passed = THRESHOLDS.filter((threshold) => {
      return threshold > told && max > 0n && row.settled * 100n >= max * BigInt(threshold)
    })
    const highest = passed.at(-1)
    if (highest !== undefined) row.told = { ...row.told, [limit.name]: highest }
    return passed.map((threshold) => ({ limit, meter: line.meter, threshold, used: row.settled }))
  }

  reserve(charge: Charge): Pick<ChargeReply, 'kind' | 'broken'> {
    const broken = charge.lines.flatMap((line) => this.#brokenBy(charge, line))
    const refuses = broken.some(({ limit }) => limit.effect !== 'warn')
    const asks = charge.lines.some(({ need }) => need > 0n)
    if (charge.force || !asks) {
      for (const line of charge.lines) this.#take(charge, line, line.need)
      return { kind: charge.force || !refuses ? 'granted' : 'broken', broken }
    }
    if (refuses) return { kind: 'broken', broken }
    const fits = charge.lines.every((line) => line.need === 0n || this.#room(charge, line) >= line.need)
    if (!fits) return { kind: 'contended', broken }
    for (const line of charge.lines) this.#take(charge, line, line.need)
    return { kind: 'granted', broken }
  }

  approvedFor(line: ChargeLine): bigint {
    return this.#approved.get(line) ?? 0n
  }

  reserveAhead(charge: Charge, line: ChargeLine): bigint {
    if (line.ahead === 0n) return 0n
    const share = isMeterOfRun(line.meter, charge.runId) ? 100n : AHEAD_PER_CENT
    if (!charge.force && this.#room(charge, line, share) < line.ahead) return 0n
    this.#take(charge, line, line.ahead)
    return line.ahead
  }

  settledOf({ meter }: ChargeLine): bigint {
    return this.#read(meter).settled
  }

  /** The least that the limits leave which refuse anything. Of a run that has changed hands, its old holder gets nothing. */
  #room(charge: Charge, line: ChargeLine, sharePerCent = 100n, hard = refusing(charge, line)): bigint {
    const { meter } = line
    const held = this.#held(charge, meter)
    if (isOthers(held, charge.holder)) return -1n
    const { settled, reserved } = this.#read(meter)
    return hard.reduce(
      (least, limit) => {
        const room = (amountOf(limit) * sharePerCent) / 100n - settled - reserved
        return room < least ? room : least
      },
      AMOUNT_MAX - settled - reserved,
    )
  }

  #brokenBy(charge: Charge, line: ChargeLine): BrokenLimit[] {
    const { meter, need, overDeclared } = line
    const used = this.#read(meter).settled
    const judged = line.limits.filter(({ pending }) => !pending)
    return judged.filter(standsAgainst(charge)).flatMap((limit) => {
      const over = used + need > amountOf(limit)
      if (!over && !overDeclared) return []
      const message = over ? overText(limit, used, need) + whereText(limit, meter, charge.runId) : declaredText(limit)
      return [{ limit, meter, used, need, message }]
    })
  }

  #take(charge: Charge, line: ChargeLine, amount: bigint): void {
    if (amount === 0n) return
    const isBeyond = charge.approved && this.#room(charge, line, 100n, line.limits.filter(isRefusing)) < amount
    if (isBeyond) this.#approved.set(line, amount)
    this.#hold(charge, line, amount, isBeyond ? amount : 0n)
  }

  /** Changes what the run holds and what the row has reserved by the same amount, which it returns. */
  #hold(charge: Charge, line: ChargeLine, change: bigint, approvedChange = 0n): bigint {
    if (change === 0n) return 0n
    const { tenantId, runId, holder } = charge
    const before = this.#held(charge, line.meter)
    if (isOthers(before, holder)) return 0n
    const amount = before?.amount ?? 0n
    const changed = amount + change < 0n ? -amount : change
    const approved = before?.approved ?? 0n
    const changedApproved = approved + approvedChange < 0n ? -approved : approvedChange
    this.#changedHeld.set(heldKey(runId, line.meter), {
      tenantId,
      runId,
      meter: line.meter,
      holder,
      amount: amount + changed,
      approved: approved + changedApproved,
    })
    const row = this.#row(line.meter)
    row.reserved += changed
    row.overrun += changedApproved
    return changed
  }

  /** Those that are not as they were: most settle one step and hold as much for the next. */
  heldNow(): HeldAmount[] {
    return [...this.#changedHeld].flatMap(([key, held]) => {
      const before = this.#state.held.get(key)
      return before && held.amount === before.amount && held.approved === before.approved ? [] : [held]
    })
  }

  #held({ runId }: Charge, meter: Meter): HeldAmount | undefined {
    const key = heldKey(runId, meter)
    return this.#changedHeld.get(key) ?? this.#state.held.get(key)
  }

  #read(meter: Meter): LedgerRow {
    const key = meterKey(meter)
    return this.changed.get(key) ?? this.#state.rows.get(key) ?? emptyRow(meter)
  }

  #row(meter: Meter): LedgerRow {
    const key = meterKey(meter)
    const row = this.changed.get(key) ?? { ...this.#read(meter) }
    this.changed.set(key, row)
    return row
  }
}

function isOthers(held: HeldAmount | undefined, holder: string): boolean {
  return (held?.holder ?? holder) !== holder
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function isRefusing({ effect }: BudgetLimit): boolean {
  return effect !== 'warn'
}

function standsAgainst({ approved }: Charge): (limit: BudgetLimit) => boolean {
  return ({ effect }) => !approved || effect !== 'require_approval'
}

function refusing(charge: Charge, { limits }: ChargeLine): BudgetLimit[] {
  return limits.filter(isRefusing).filter(standsAgainst(charge))
}

function emptyRow(meter: Meter): LedgerRow {
  return { meter, settled: 0n, reserved: 0n, overrun: 0n, estimated: 0n, unrecorded: 0n, uncosted: 0, told: {} }
}

function bounded(amount: bigint): bigint {
  return amount < 0n ? 0n : amount > AMOUNT_MAX ? AMOUNT_MAX : amount
}

function overText(limit: BudgetLimit, used: bigint, need: bigint): string {
  const { metric, max } = limit
  const more = need === 0n ? '' : ` and ${shownAmount(metric, need)} for this step`
  return `${metric} ${shownAmount(metric, used)}${more} over ${max}`
}

function declaredText(limit: BudgetLimit): string {
  return `a step used more ${limit.metric} than it had declared`
}

/** A run that waits for this one is named: it is there that its use is to be looked up. */
function whereText({ scope, window }: BudgetLimit, meter: Meter, runId: string): string {
  const when = window === 'run' ? '' : ` in a ${window}`
  if (scope !== 'run') return `${when} of the ${scope.replace('_', ' ')}`
  if (!isMeterOfRun(meter, runId))
    return `${when} of run ${meter.subject.slice('run/'.length)}, which waits for this one`
  return when === '' ? '' : `${when} of the run`
}
