import type { BrokenLimit, Charge, ChargeLine, ChargeReply } from './charge.ts'
import { amountOf, type BudgetLimit, isMeterOfRun, type Meter, shownAmount } from './meter.ts'

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

/** `key`: a `meterKey`. */
export function heldKey(runId: string, key: string): string {
  return `${runId}\n${key}`
}

/**
 * Pure. What becomes of charges that share a commit: first all that is given back and settled, which makes room; then
 * what steps need, in order, each on all of its lines or on none; then what is reserved ahead.
 */
export function decideCharges(charges: readonly Charge[], state: LedgerState): DecidedCharges {
  const books = new Books(charges, state)
  const lines = books.lines.flat()
  for (const line of lines) books.settle(line)
  for (const line of lines) books.admit(line)
  const crossings = lines.flatMap((line) => books.crossings(line))
  const answers = charges.map((charge, i) => books.reserve(charge, books.lines[i] ?? []))
  const replies = charges.map((charge, i): ChargeReply => {
    const ofCharge = (books.lines[i] ?? []).map((line) => ({
      ahead: books.reserveAhead(line),
      settled: line.row.now.settled,
      approved: line.approved,
    }))
    return { ...answers[i]!, lines: ofCharge, policiesVersion: state.policiesVersions.get(charge.tenantId) ?? 0 }
  })
  return { ...books.changed(), replies, crossings }
}

/** A row of the ledger, or what a run holds of it, as it was read and as it is to be written. */
interface RowPlace {
  changes: boolean
  readonly now: LedgerRow
}
interface HeldPlace {
  readonly before: HeldAmount | undefined
  now: HeldAmount | undefined
}
/** A line of a charge with what it changes: texts that name these are made once, which was half of the work. */
interface PlacedLine {
  readonly charge: Charge
  readonly line: ChargeLine
  readonly row: RowPlace
  readonly held: HeldPlace
  readonly heldKey: string
  approved: bigint
}

class Books {
  /** Of each charge. */
  readonly lines: readonly (readonly PlacedLine[])[]
  readonly #rows = new Map<string, RowPlace>()
  readonly #held = new Map<string, HeldPlace>()
  readonly #amounts = new Map<BudgetLimit, bigint>()
  readonly #state: LedgerState

  constructor(charges: readonly Charge[], state: LedgerState) {
    this.#state = state
    this.lines = charges.map((charge) => charge.lines.map((line) => this.#place(charge, line)))
  }

  #place(charge: Charge, line: ChargeLine): PlacedLine {
    const { key, meter } = line
    const ofRun = heldKey(charge.runId, key)
    const row = this.#rows.get(key) ?? { changes: false, now: { ...(this.#state.rows.get(key) ?? emptyRow(meter)) } }
    this.#rows.set(key, row)
    const before = this.#state.held.get(ofRun)
    const held = this.#held.get(ofRun) ?? { before, now: before }
    this.#held.set(ofRun, held)
    return { charge, line, row, held, heldKey: ofRun, approved: 0n }
  }

  /** As they are to be written. Of what runs hold, most settle one step and hold as much for the next. */
  changed(): Pick<DecidedCharges, 'rows' | 'held'> {
    const rows = [...this.#rows.values()].flatMap(({ changes, now }) => (changes ? [now] : []))
    const held = [...this.#held.values()].flatMap(({ before, now }) => {
      const isSame = before?.amount === now?.amount && before?.approved === now?.approved
      return now === undefined || isSame ? [] : [now]
    })
    return { rows, held }
  }

  settle(placed: PlacedLine): void {
    const { line, row } = placed
    if (line.joins) this.#join(placed)
    this.#hold(placed, line.carried)
    const released = this.#hold(placed, -line.release, -line.releaseApproved)
    const { settled, overrun, estimated, unrecorded, uncosted } = line
    const nothing = settled === 0n && overrun === 0n && estimated === 0n && unrecorded === 0n
    if (nothing && uncosted === 0 && released === 0n) return
    row.changes = true
    row.now.settled = bounded(row.now.settled + settled)
    row.now.overrun = bounded(row.now.overrun + overrun)
    row.now.estimated = bounded(row.now.estimated + estimated)
    row.now.unrecorded = bounded(row.now.unrecorded + unrecorded)
    row.now.uncosted += uncosted
  }

  /** Two charges of one run that both believe to be its first: the row that the one makes tells the other. */
  #join({ charge: { tenantId, runId, holder }, line: { meter }, row, held, heldKey: ofRun }: PlacedLine): void {
    if (held.now) return
    held.now = { tenantId, runId, meter, holder, amount: 0n, approved: 0n }
    const used = this.#state.used.get(ofRun) ?? 0n
    if (used === 0n) return
    row.changes = true
    row.now.settled = bounded(row.now.settled + used)
  }

  /** Takes in steps that had begun before. What is used or begun already is no reason to refuse, but recorded as beyond. */
  admit(placed: PlacedLine): void {
    const { line, row } = placed
    const hard = line.limits.filter(isRefusing)
    const { settled, overrun } = row.now
    const beyond = hard.reduce((most, limit) => larger(most, settled - overrun - this.#amountOf(limit)), 0n)
    if (beyond > 0n) {
      row.changes = true
      row.now.overrun = overrun + beyond
    }
    if (line.begun === 0n) return
    const room = larger(this.#room(placed, 100n, hard), 0n)
    placed.approved = larger(line.begun - room, 0n)
    this.#hold(placed, line.begun, placed.approved)
  }

  crossings({ charge: { tenantId, runId }, line, row, heldKey: ofRun }: PlacedLine): Crossing[] {
    const { meter, limits, settled, joins } = line
    const brought = joins ? (this.#state.used.get(ofRun) ?? 0n) : 0n
    if (settled + brought <= 0n || meter.metric === 'requests_per_minute') return []
    return limits.flatMap((limit) => this.#crossed(row.now, limit)).map((crossed) => ({ tenantId, runId, ...crossed }))
  }

  #crossed(row: LedgerRow, limit: BudgetLimit): Omit<Crossing, 'tenantId' | 'runId'>[] {
    const max = this.#amountOf(limit)
    const told = row.told[limit.name] ?? 0
    const passed = THRESHOLDS.filter((threshold) => {
      return threshold > told && max > 0n && row.settled * 100n >= max * BigInt(threshold)
    })
    const highest = passed.at(-1)
    if (highest !== undefined) row.told = { ...row.told, [limit.name]: highest }
    return passed.map((threshold) => ({ limit, meter: row.meter, threshold, used: row.settled }))
  }

  reserve(charge: Charge, lines: readonly PlacedLine[]): Pick<ChargeReply, 'kind' | 'broken'> {
    const broken = lines.flatMap((line) => this.#brokenBy(line))
    const refuses = broken.some(({ limit }) => limit.effect !== 'warn')
    const asking = lines.filter(({ line }) => line.need > 0n)
    if (charge.force || asking.length === 0) {
      for (const placed of asking) this.#take(placed, placed.line.need)
      return { kind: charge.force || !refuses ? 'granted' : 'broken', broken }
    }
    if (refuses) return { kind: 'broken', broken }
    if (!asking.every((placed) => this.#room(placed) >= placed.line.need)) return { kind: 'contended', broken }
    for (const placed of asking) this.#take(placed, placed.line.need)
    return { kind: 'granted', broken }
  }

  reserveAhead(placed: PlacedLine): bigint {
    const { charge, line } = placed
    if (line.ahead === 0n) return 0n
    const share = isMeterOfRun(line.meter, charge.runId) ? 100n : AHEAD_PER_CENT
    if (!charge.force && this.#room(placed, share) < line.ahead) return 0n
    this.#take(placed, line.ahead)
    return line.ahead
  }

  /** The least that the limits leave which refuse anything. Of a run that has changed hands, its old holder gets nothing. */
  #room({ charge, line, row, held }: PlacedLine, sharePerCent = 100n, hard = refusing(charge, line)): bigint {
    if (isOthers(held.now, charge.holder)) return -1n
    const { settled, reserved } = row.now
    let least = AMOUNT_MAX - settled - reserved
    for (const limit of hard) {
      const amount = this.#amountOf(limit)
      const room = (sharePerCent === 100n ? amount : (amount * sharePerCent) / 100n) - settled - reserved
      if (room < least) least = room
    }
    return least
  }

  #brokenBy({ charge, line, row }: PlacedLine): BrokenLimit[] {
    const { meter, need, overDeclared, limits } = line
    const used = row.now.settled
    return limits.flatMap((limit) => {
      const over = used + need > this.#amountOf(limit)
      if ((!over && !overDeclared) || limit.pending || !standsAgainst(charge)(limit)) return []
      const message = over ? overText(limit, used, need) + whereText(limit, meter, charge.runId) : declaredText(limit)
      return [{ limit, meter, used, need, message }]
    })
  }

  #take(placed: PlacedLine, amount: bigint): void {
    const { charge, line } = placed
    const isBeyond = charge.approved && this.#room(placed, 100n, line.limits.filter(isRefusing)) < amount
    if (isBeyond) placed.approved = amount
    this.#hold(placed, amount, isBeyond ? amount : 0n)
  }

  /** Changes what the run holds and what the row has reserved by the same amount, which it returns. */
  #hold({ charge, line, row, held }: PlacedLine, change: bigint, approvedChange = 0n): bigint {
    if (change === 0n) return 0n
    const { tenantId, runId, holder } = charge
    if (isOthers(held.now, holder)) return 0n
    const { amount = 0n, approved = 0n } = held.now ?? {}
    const changed = amount + change < 0n ? -amount : change
    const changedApproved = approved + approvedChange < 0n ? -approved : approvedChange
    const [nowHeld, nowApproved] = [amount + changed, approved + changedApproved]
    held.now = { tenantId, runId, meter: line.meter, holder, amount: nowHeld, approved: nowApproved }
    row.changes = true
    row.now.reserved += changed
    row.now.overrun += changedApproved
    return changed
  }

  #amountOf(limit: BudgetLimit): bigint {
    const known = this.#amounts.get(limit)
    if (known !== undefined) return known
    const amount = amountOf(limit)
    this.#amounts.set(limit, amount)
    return amount
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

/** Pure. The limit as it would be broken by a step that needs so much; null: it leaves that. */
export function brokenByNeed(
  limit: BudgetLimit,
  { meter, used, need, runId }: Pick<BrokenLimit, 'meter' | 'used' | 'need'> & { readonly runId: string },
): BrokenLimit | null {
  if (limit.pending || need === 0n || used + need <= amountOf(limit)) return null
  return { limit, meter, used, need, message: overText(limit, used, need) + whereText(limit, meter, runId) }
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
