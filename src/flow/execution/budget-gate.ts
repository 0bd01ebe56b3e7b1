import type { BrokenLimit, BudgetLimit, Charge, ChargeLine, ChargeReply, Meter } from '../../domains/budgets/budgets.ts'
import type { WindowUses } from '../../domains/policies/policies.ts'
import { AppError } from '../../foundation/app-error.ts'
import { limits as bounds } from '../../limits.ts'
import type { Lease, StepRow } from '../kernel/kernel.ts'
import { type BudgetLine, BudgetLines, chargeLine, giveBackHere, staysOwn, takeHere } from './budget-lines.ts'
import type { BudgetAnswer, BudgetedStep, BudgetGateOptions, Recording } from './budget-port.ts'
import {
  brokenByNext,
  closings,
  HeldStep,
  isSpent,
  isToldByStep,
  most,
  overrunOf,
  settlement,
  shareOut,
  windowUses,
} from './budget-settlement.ts'
import { LateUsage } from './late-usage.ts'
import type { StepResult } from './step-spec.ts'
import { useOf } from './step-usage.ts'
import { UnderWay } from './under-way.ts'

/**
 * Keeps one run's steps within its budgets: reserves before a step, settles with its record, and reserves the next in
 * the same flush, so that most steps need no flight of their own. Does nothing while no limit bounds the run.
 *
 * What only this run can use is kept here alone while that is less than half of each limit: its lease is this worker's,
 * and its recorded steps say what it has used, from which the row of the ledger is made when it is needed.
 */
export class BudgetGate {
  readonly #options: BudgetGateOptions
  readonly #lines: BudgetLines
  readonly #held = new Map<string, HeldStep>()
  readonly #late = new LateUsage()
  readonly #lineOf = new WeakMap<Meter, BudgetLine>()
  /** Limits that settlements have broken, for the next step to be told. */
  #broken: BrokenLimit[] = []
  /** Policies that steps of this run have broken. */
  readonly #brokenNames = new Set<string>()
  /** Limits that came after the last step, which no step was held against. */
  readonly #caughtUp = new Set<BudgetLine>()
  #takesOver: boolean
  /** Names this execution of the run as the holder of what it reserves; null before it has asked for anything. */
  #holder: string | null = null
  /** Until a step is recorded, the run has used nothing. */
  #mayOwn: boolean
  /**
   * Steps that are being recorded without a charge, which a row that is made meanwhile would not count; and charges that
   * make rows, with what is reserved here: who gives that back before it is there gives back nothing.
   */
  readonly #underWay = new UnderWay()

  constructor(options: BudgetGateOptions) {
    this.#options = options
    this.#lines = new BudgetLines(options.run)
    this.#takesOver = !options.fresh
    this.#mayOwn = options.fresh
  }

  /** True when the run may have something reserved that its end must give back. */
  get reserves(): boolean {
    return this.#holder !== null || !this.#options.fresh
  }

  /** Limits that were broken and that no step was told of yet. */
  takeBroken(): readonly BrokenLimit[] {
    const broken = this.#broken
    this.#broken = []
    return broken
  }

  /** Limits that the step would break by what is known here. Others may have used more. */
  brokenBy(step: BudgetedStep): BrokenLimit[] {
    return brokenByNext(this.#lines.current, new HeldStep(step), this.#options.run.runId)
  }

  /** What the run's steps saw last of limits that add up a period, by the policy's name. */
  get windowUses(): WindowUses {
    return windowUses(this.#lines.current, this.#options.run.runId, (line, { name, pending }) => {
      return pending || this.#caughtUp.has(line) ? null : !this.#brokenNames.has(name)
    })
  }

  /** True while a step is under way. */
  get isBusy(): boolean {
    return this.#held.size > 0
  }

  /** What the run counts in already, as another execution of it has left that. */
  goesOn(meters: readonly Meter[]): void {
    this.#lines.goOn(meters)
  }

  /** Other limits have come into force: steps under way count in them at once. Fails with `LEASE_LOST`. */
  async follow(limits: readonly BudgetLimit[]): Promise<void> {
    if (this.#lines.renew(limits, this.#options.clock, this.#mayOwn)) await this.#admit()
  }

  /** The run ends: what its recorded steps have used counts in these limits too. Fails with `LEASE_LOST`. */
  async catchUp(limits: readonly BudgetLimit[]): Promise<void> {
    this.#lines.renew(limits, this.#options.clock, this.#mayOwn)
    const joined = this.#lines.current.filter(({ own, opened, recounts, meter }) => {
      return recounts && !own && !opened && meter.period !== 'run' // a row of runs is made from their steps
    })
    if (joined.length === 0) return
    for (const line of joined) this.#caughtUp.add(line)
    const changes = joined.map((line) => chargeLine(line, {}))
    await this.#send(this.#charge(joined, changes), this.#options.lease)
    this.#forget()
  }

  /** The run starts others, which may use what its own limits leave. */
  share(): void {
    this.#mayOwn = false
    this.#lines.share()
  }

  /** Reserves for the step. Without a promise when that takes no flight. Fails with `LEASE_LOST`. */
  before(step: BudgetedStep, limits: readonly BudgetLimit[]): Promise<BudgetAnswer> | undefined {
    const isOther = this.#lines.renew(limits, this.#options.clock, this.#mayOwn)
    if (isOther && this.isBusy) return this.#admit().then(() => this.#reserve(step) ?? null)
    return this.#reserve(step)
  }

  #reserve(step: BudgetedStep): Promise<BudgetAnswer> | undefined {
    const held = new HeldStep(step)
    const lines = this.#lines.current
    if (lines.length === 0) {
      this.#held.set(step.key, held) // limits may come while it is under way
      return undefined
    }
    const taken = new Map<BudgetLine, bigint>()
    for (const line of lines) taken.set(line, takeHere(line, held.need(line)))
    const isOver = ({ least: limit, seen }: BudgetLine) => limit !== null && seen > limit
    const isEnough = (line: BudgetLine) => line.opened && taken.get(line) === held.amounts.get(line) && !isOver(line)
    if (lines.every((line) => line.own || isEnough(line))) {
      this.#held.set(step.key, held)
      return undefined
    }
    return this.#ask(step.key, held, taken)
  }

  async #ask(key: string, held: HeldStep, taken: ReadonlyMap<BudgetLine, bigint>): Promise<BudgetAnswer> {
    const { clock, random } = this.#options
    while (this.#mustWait([...held.amounts.keys()])) await this.#underWay.answered()
    const lines = [...held.amounts.keys()].filter(({ own }) => !own)
    const past = this.#lines.takePast()
    const asked = lines.map((line) => {
      return chargeLine(line, { need: (held.amounts.get(line) ?? 0n) - (taken.get(line) ?? 0n) })
    })
    const charge = this.#charge(
      [...lines, ...past],
      [...asked, ...past.map((line) => chargeLine(line, { release: line.free }))],
      held.approvedBy !== null,
    )
    const reply = await this.#send(charge, this.#options.lease)
    if (reply === null || reply.kind === 'granted') {
      lines.forEach((line, i) => void held.approve(line, reply?.lines[i]?.approved ?? 0n))
      this.#held.set(key, held)
      await this.#admit()
      return reply === null || reply.broken.length === 0 ? null : { kind: 'broken', broken: reply.broken }
    }
    for (const [line, amount] of taken) giveBackHere(line, amount)
    if (reply.kind === 'broken') return { kind: 'broken', broken: reply.broken }
    const pauseMs = bounds.budgetRetryMs * (0.5 + random())
    return { kind: 'later', at: new Date(clock.nowMs() + pauseMs) }
  }

  /** Steps that are under way, and of which lines don't know that have come since they began, count there too. */
  async #admit(): Promise<void> {
    while (this.#mustWait(this.#lines.current)) await this.#underWay.answered()
    const admitted = new Map<BudgetLine, { amount: bigint; steps: HeldStep[] }>()
    for (const held of this.#held.values()) {
      for (const line of this.#lines.current) {
        if (line.follows || held.amounts.has(line)) continue
        const need = held.need(line)
        const missing = need - takeHere(line, need)
        if (line.own) continue
        const before = admitted.get(line) ?? { amount: 0n, steps: [] }
        admitted.set(line, { amount: before.amount + missing, steps: [...before.steps, held] })
      }
    }
    if (admitted.size === 0) return
    const lines = [...admitted.keys()]
    const changes = [...admitted].map(([line, { amount }]) => chargeLine(line, { begun: amount }))
    const reply = await this.#send(this.#charge(lines, changes), this.#options.lease)
    ;[...admitted].forEach(([line, { steps }], i) => void shareOut(line, reply?.lines[i]?.approved ?? 0n, steps))
  }

  /** The step's code is about to run. */
  begins(key: string, attempt: number): void {
    const held = this.#held.get(key)
    if (held) held.running = attempt
  }

  /** Has the step's attempt recorded by `write`, which answers its trace gap, with what it changes in the ledger. */
  record(row: StepRow, write: (recording: Recording | null) => Promise<string | null>): Promise<string | null> {
    if (row.status === 'started') return write(null)
    this.#mayOwn = false
    const held = this.#held.get(row.key)
    const counts = held ? held.amounts.size > 0 : this.#lines.current.length > 0
    if (counts) return this.#recordUse(row, held, write)
    this.#held.delete(row.key)
    const writing = write(null)
    this.#underWay.follow(writing)
    return writing
  }

  async #recordUse(
    row: StepRow,
    held: HeldStep | undefined,
    write: (recording: Recording | null) => Promise<string | null>,
  ): Promise<string | null> {
    let uses = this.#settlements(row, held)
    while (this.#mustWait([...uses.keys()])) {
      await this.#underWay.answered()
      uses = this.#settlements(row, held) // more limits may have come into force meanwhile
    }
    this.#held.delete(row.key)
    const lines = [...uses.keys()]
    const own = lines.filter((line) => line.own)
    for (const line of own) {
      line.ownReserved -= uses.get(line)?.release ?? 0n
      line.seen += uses.get(line)?.settled ?? 0n
    }
    const recording = own.length === lines.length ? null : this.#recording(row, held, uses)
    const writing = write(recording)
    this.#underWay.follow(writing)
    return own.length > 0 ? this.#noteOwn(row, own, uses, writing) : writing
  }

  #settlements(row: StepRow, held: HeldStep | undefined): ReadonlyMap<BudgetLine, Partial<ChargeLine>> {
    const lines = held ? [...held.amounts.keys()] : this.#lines.current
    const uses = new Map(lines.map((line) => [line, settlement(line, held, row)] as const))
    for (const [line, use] of uses)
      line.own &&= isToldByStep(use) && staysOwn(line, (use.settled ?? 0n) - (use.release ?? 0n))
    return uses
  }

  #recording(row: StepRow, held: HeldStep | undefined, uses: ReadonlyMap<BudgetLine, Partial<ChargeLine>>): Recording {
    const goesOn = row.status !== 'waiting'
    const lines = [...uses.keys()].filter(({ own }) => !own)
    const changes = lines.map((line) => {
      const ahead = goesOn ? most(line.most - line.free - line.asking, 0n) : 0n
      line.asking += ahead
      return chargeLine(line, { ...uses.get(line), ahead })
    })
    if (held) {
      const isEstimated = (line: BudgetLine) => (changes[lines.indexOf(line)]?.estimated ?? 0n) > 0n
      this.#late.expect(`${row.key}/${row.attempt}`, held, isEstimated, this.#options.clock.nowMs())
    }
    return { charge: this.#charge(lines, changes), attributes: overrunOf(changes, held?.approvedBy ?? null) }
  }

  /** What a step has used whose row, for want of its trace, does not say so, is settled after all. */
  async #noteOwn(
    row: StepRow,
    own: readonly BudgetLine[],
    uses: ReadonlyMap<BudgetLine, Partial<ChargeLine>>,
    writing: Promise<string | null>,
  ): Promise<string | null> {
    if ((await writing) === null) return null
    const lost = own.filter((line) => isSpent(line) && useOf(line.meter.metric, row).amount)
    if (lost.length === 0) return writing
    for (const line of lost) line.own = false
    while (this.#mustWait(lost)) await this.#underWay.answered()
    const changes = lost.map((line) => {
      const settled = uses.get(line)?.settled ?? 0n
      return chargeLine(line, { settled, unrecorded: settled })
    })
    await this.#send(this.#charge(lost, changes), this.#options.lease)
    return writing
  }

  /** While rows of the ledger are made: one charge at a time makes them, of all that is recorded and reserved here. */
  #mustWait(lines: readonly BudgetLine[]): boolean {
    return this.#underWay.isAny && lines.some(({ own, opened }) => !own && !opened)
  }

  /** What became of a charge that travelled with a step's record. */
  heard(charge: Charge, reply: ChargeReply): void {
    const { onPolicies } = this.#options
    charge.lines.forEach(({ meter, ahead, limits }, i) => {
      const line = this.#lineOf.get(meter)
      if (!line) return
      line.opened = true
      line.asking -= ahead
      const reserved = reply.lines[i]?.ahead ?? 0n
      if (line.limits === limits) line.free += reserved
      else line.revoked += reserved // what has room by other limits
      line.seen = reply.lines[i]?.settled ?? line.seen
    })
    const settled = new Set(charge.lines.filter((line) => line.settled > 0n).map(({ meter }) => meter))
    if (charge.lines.every(({ need }) => need === 0n)) {
      const own = reply.broken.filter(({ meter }) => settled.has(meter))
      this.#broken.push(...own)
      for (const { limit } of own) this.#brokenNames.add(limit.name)
    }
    onPolicies(reply.policiesVersion)
  }

  /** The code of a step has returned after the run was interrupted, or after the step's timeout. */
  aborted(key: string, attempt: number, result: StepResult | null): void {
    const held = this.#held.get(key)
    if (held) held.result = result
    else this.#correct(`${key}/${attempt}`, result)
  }

  /** Settles aborted steps, and gives back what is reserved unless the run's end does. May be called again if it fails. */
  async close(ends: boolean): Promise<void> {
    if (this.#held.size === 0 && this.#holder === null) return // most runs: no limit bounds them
    const running = [...this.#held.values()].filter(({ running: attempt }) => attempt !== null)
    while (this.#mustWait([...this.#closings().keys()])) await this.#underWay.answered()
    const closed = this.#closings()
    const lines = [...closed.keys()]
    if (lines.length > 0 && (!ends || running.length > 0)) {
      const changes = [...closed].map(([line, use]) => chargeLine(line, use))
      try {
        await this.#send(this.#charge(lines, changes), this.#options.lease)
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'LEASE_LOST')) throw error
      }
      this.#expectLateOf(changes)
      for (const line of lines) line.free = 0n
    }
    this.#held.clear()
    this.#forget()
  }

  #forget(): void {
    if (this.#holder !== null) this.#options.onClosed(this.#holder)
  }

  #closings(): ReadonlyMap<BudgetLine, Partial<ChargeLine>> {
    return closings(this.#lines.all, [...this.#held.values()])
  }

  #expectLateOf(changes: readonly ChargeLine[]): void {
    const estimated = new Set(changes.filter((line) => line.estimated > 0n).map(({ meter }) => meter))
    for (const [key, held] of this.#held) {
      if (held.running === null || held.result !== null) continue
      const isEstimated = ({ meter }: BudgetLine) => estimated.has(meter)
      this.#late.expect(`${key}/${held.running}`, held, isEstimated, this.#options.clock.nowMs())
    }
  }

  /** Known use takes the place of estimated use, whether or not the run has ended meanwhile. */
  #correct(key: string, result: StepResult | null): void {
    const { clock, log, run } = this.#options
    const known = this.#late.take(key, result, clock.nowMs())
    if (known.length === 0) return
    const charge = this.#charge(
      known.map(({ line }) => line),
      known.map(({ change }) => change),
    )
    this.#send(charge, null).catch((error) => {
      log.warn({ error, runId: run.runId }, 'what an aborted step used could not be settled; it stays estimated')
    })
  }

  #charge(lines: readonly BudgetLine[], changes: readonly ChargeLine[], approved = false): Charge {
    const { run, muted, newId, onReserving } = this.#options
    if (this.#holder === null) {
      this.#holder = newId()
      onReserving(this.#holder)
    }
    const charge: Charge = {
      tenantId: run.tenantId,
      runId: run.runId,
      holder: this.#holder,
      lines: changes,
      force: muted,
      approved,
      opens: lines.some(({ opened }) => !opened),
    }
    for (const line of lines) this.#lineOf.set(line.meter, line)
    return charge
  }

  #send(charge: Charge, lease: Lease | null): Promise<ChargeReply | null> {
    const sending = this.#sendNow(charge, lease)
    if (charge.opens) this.#underWay.follow(sending)
    return sending
  }

  async #sendNow(charge: Charge, lease: Lease | null): Promise<ChargeReply | null> {
    const takesOver = this.#takesOver && lease !== null
    if (takesOver) this.#takesOver = false // the first one only: a later one would give back what that has reserved
    const reply = await this.#options.charge({ charge, lease, takesOver })
    if (reply) this.heard(charge, reply)
    return reply
  }
}
