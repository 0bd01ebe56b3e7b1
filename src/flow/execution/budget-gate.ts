import {
  type BrokenLimit,
  type BudgetedRun,
  type BudgetLimit,
  type Charge,
  type ChargeLine,
  type ChargeReply,
  isMeterOfRun,
  METER_METRICS,
  type Meter,
  type MeterMetric,
  shownAmount,
} from '../../domains/budgets/budgets.ts'
import type { WindowUses } from '../../domains/policies/policies.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { JsonObject } from '../../foundation/json.ts'
import type { Logger } from '../../foundation/log.ts'
import { limits as bounds } from '../../limits.ts'
import type { ChargeRequest, Lease, StepRow } from '../kernel/kernel.ts'
import { type BudgetLine, BudgetLines, chargeLine, giveBackHere, staysOwn, takeHere } from './budget-lines.ts'
import { closing, type HeldStep, isSpent, isToldByStep, most, overrunOf, settlement } from './budget-settlement.ts'
import { LateUsage } from './late-usage.ts'
import { boundOf, type StepBound } from './step-bound.ts'
import type { StepResult } from './step-spec.ts'
import { needOf, useOf } from './step-usage.ts'
import { UnderWay } from './under-way.ts'

/** A step that is about to run, as budgets see it. */
export interface BudgetedStep {
  readonly key: string
  readonly kind: string
  /** What its code declares as the most it may use. */
  readonly declared?: StepBound | undefined
  /** What it is estimated to use at the most. */
  readonly estimate?: (() => StepBound) | undefined
  /** Who has approved it, so that limits which ask for an approval don't refuse it. */
  readonly approvedBy?: string | undefined
}

/** What recording a step's attempt changes in the ledger, and what its row says of that. */
export interface Recording {
  readonly charge: Charge
  /** Its overrun; null when it used no more than was reserved. */
  readonly attributes: JsonObject | null
}

/** `later`: there is no room only because of what others have reserved and may not use. Null: the step may run. */
export type BudgetAnswer =
  | { readonly kind: 'later'; readonly at: Date }
  | { readonly kind: 'broken'; readonly broken: readonly BrokenLimit[] }
  | null

export interface BudgetGateOptions {
  readonly run: BudgetedRun
  readonly lease: Lease
  /** True when no worker has executed the run before. */
  readonly fresh: boolean
  /** Names this execution of the run as the holder of what it reserves. */
  readonly holder: string
  readonly charge: (request: ChargeRequest) => Promise<ChargeReply | null>
  /** Nothing is refused. */
  readonly muted: boolean
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  /** Told which version of the tenant's policies the ledger has seen. */
  readonly onPolicies: (version: number) => void
  /** Called before its first charge, and when it has made its last one under this lease. */
  readonly onReserving: () => void
  readonly onClosed: () => void
}

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
  #takesOver: boolean
  #reserves = false
  /** Until a step is recorded, the run has used nothing. */
  #mayOwn: boolean
  /**
   * Steps that are being recorded without a charge, which a row that is made meanwhile would not count; and charges that
   * make rows, with what is reserved here: who gives that back before it is there gives back nothing.
   */
  readonly #underWay = new UnderWay()
  /** What steps have used since nobody could read the policies; null: they are known, or nobody has tried. */
  #unheld: Map<MeterMetric, bigint> | null = null

  constructor(options: BudgetGateOptions) {
    this.#options = options
    this.#lines = new BudgetLines(options.run)
    this.#takesOver = !options.fresh
    this.#mayOwn = options.fresh
  }

  /** True when the run may have something reserved that its end must give back. */
  get reserves(): boolean {
    return this.#reserves || !this.#options.fresh
  }

  /** Limits that were broken and that no step was told of yet. */
  takeBroken(): readonly BrokenLimit[] {
    const broken = this.#broken
    this.#broken = []
    return broken
  }

  /** What the run's steps saw last of limits that add up a period, by the policy's name. */
  get windowUses(): WindowUses {
    const { runId } = this.#options.run
    const isAncestors = (meter: Meter) => meter.subject.startsWith('run/') && !isMeterOfRun(meter, runId)
    const periods = this.#lines.current.filter(({ meter, opened }) => {
      return meter.period !== 'run' && opened && !isAncestors(meter)
    })
    return new Map(
      periods.flatMap(({ meter, limits, seen }) =>
        limits.map(({ name, policyVersion }) => {
          const value = shownAmount(meter.metric, seen)
          return [name, { version: policyVersion ?? 0, value, met: !this.#brokenNames.has(name) }] as const
        }),
      ),
    )
  }

  /** The policies could not be read and the run goes on: what its steps use is held against the limits once they are known. */
  policiesUnknown(): void {
    this.#unheld ??= new Map()
    this.#mayOwn = false
  }

  /** The run starts others, which may use what its own limits leave. */
  share(): void {
    this.#mayOwn = false
    this.#lines.share()
  }

  /** Reserves for the step. Without a promise when that takes no flight. Fails with `LEASE_LOST`. */
  before(step: BudgetedStep, limits: readonly BudgetLimit[]): Promise<BudgetAnswer> | undefined {
    this.#lines.renew(limits, this.#options.clock.now(), this.#mayOwn)
    const lines = this.#lines.current
    if (lines.length === 0) return undefined
    const { kind, declared, estimate, approvedBy = null } = step
    const bound = boundOf(declared, estimate)
    const needs = new Map<BudgetLine, bigint>()
    const taken = new Map<BudgetLine, bigint>()
    for (const line of lines) {
      const need = needOf(line.meter.metric, kind, bound)
      needs.set(line, need)
      taken.set(line, takeHere(line, need))
    }
    const held = { kind, declared, approvedBy, amounts: needs, approved: new Map(), running: null, result: null }
    const isOver = ({ least: limit, seen }: BudgetLine) => limit !== null && seen > limit
    const isEnough = (line: BudgetLine) => line.opened && taken.get(line) === needs.get(line) && !isOver(line)
    if (!this.#unheld && lines.every((line) => line.own || isEnough(line))) {
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
    const earlier = this.#unheld
    this.#unheld = null
    const asked = lines.map((line) => {
      const need = (held.amounts.get(line) ?? 0n) - (taken.get(line) ?? 0n)
      return chargeLine(line, { need, earlier: earlier?.get(line.meter.metric) ?? 0n })
    })
    const charge = this.#charge(
      [...lines, ...past],
      [...asked, ...past.map((line) => chargeLine(line, { release: line.free }))],
      held.approvedBy !== null,
    )
    const reply = await this.#send(charge, this.#options.lease)
    if (reply === null || reply.kind === 'granted') {
      held.approved = new Map(lines.map((line, i) => [line, reply?.lines[i]?.approved ?? 0n]))
      this.#held.set(key, held)
      return reply === null || reply.broken.length === 0 ? null : { kind: 'broken', broken: reply.broken }
    }
    for (const [line, amount] of taken) giveBackHere(line, amount)
    if (reply.kind === 'broken') return { kind: 'broken', broken: reply.broken }
    const pauseMs = bounds.budgetRetryMs * (0.5 + random())
    return { kind: 'later', at: new Date(clock.nowMs() + pauseMs) }
  }

  /** The step's code is about to run. */
  begins(key: string, attempt: number): void {
    const held = this.#held.get(key)
    if (held) held.running = attempt
  }

  /** Has the step's attempt recorded by `write`, which answers its trace gap, with what it changes in the ledger. */
  async record(row: StepRow, write: (recording: Recording | null) => Promise<string | null>): Promise<string | null> {
    if (row.status === 'started') return write(null)
    this.#mayOwn = false
    const held = this.#held.get(row.key)
    const lines = held ? [...held.amounts.keys()] : this.#lines.current
    if (lines.length === 0) {
      this.#addUnheld(row)
      return write(null)
    }
    this.#held.delete(row.key)
    const uses = new Map<BudgetLine, Partial<ChargeLine>>()
    for (const line of lines) uses.set(line, settlement(line, held, row))
    for (const [line, use] of uses)
      line.own &&= isToldByStep(use) && staysOwn(line, (use.settled ?? 0n) - (use.release ?? 0n))
    while (this.#mustWait(lines)) await this.#underWay.answered()
    const isOwn = lines.every((line) => line.own)
    const own = isOwn ? lines : lines.filter((line) => line.own)
    for (const line of own) {
      line.ownReserved -= uses.get(line)?.release ?? 0n
      line.seen += uses.get(line)?.settled ?? 0n
    }
    const recording = isOwn ? null : this.#recording(row, held, uses)
    const writing = write(recording)
    if (own.length > 0 || recording?.charge.opens) this.#underWay.follow(writing)
    return own.length > 0 ? this.#noteOwn(row, own, uses, writing) : writing
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

  /** Of a minute's requests nothing is made up for: it is over. */
  #addUnheld(row: StepRow): void {
    if (!this.#unheld) return
    for (const metric of METER_METRICS) {
      const { amount } = useOf(metric, row)
      if (amount && metric !== 'requests_per_minute') {
        this.#unheld.set(metric, (this.#unheld.get(metric) ?? 0n) + amount)
      }
    }
  }

  /** What became of a charge that travelled with a step's record. */
  heard(charge: Charge, reply: ChargeReply): void {
    const { onPolicies } = this.#options
    charge.lines.forEach(({ meter, ahead }, i) => {
      const line = this.#lineOf.get(meter)
      if (!line) return
      line.opened = true
      line.asking -= ahead
      line.free += reply.lines[i]?.ahead ?? 0n
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
    const { lease, onClosed } = this.#options
    const running = [...this.#held.values()].filter(({ running: attempt }) => attempt !== null)
    while (this.#mustWait([...this.#closings().keys()])) await this.#underWay.answered()
    const closings = this.#closings()
    const lines = [...closings.keys()]
    if (lines.length > 0 && (!ends || running.length > 0)) {
      const changes = [...closings].map(([line, use]) => chargeLine(line, use))
      try {
        await this.#send(this.#charge(lines, changes), lease)
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'LEASE_LOST')) throw error
      }
      this.#expectLateOf(changes)
      for (const line of lines) line.free = 0n
      this.#held.clear()
    }
    onClosed()
  }

  /** What is to be settled and given back, by line; of what is kept here, only what no recorded step tells. */
  #closings(): ReadonlyMap<BudgetLine, Partial<ChargeLine>> {
    const held = [...this.#held.values()]
    const holding = this.#lines.all.filter(({ free }) => free > 0n)
    const all = new Set([...holding, ...held.flatMap(({ amounts }) => [...amounts.keys()])])
    const closings = [...all].map((line) => [line, closing(line, held)] as const)
    for (const [line, use] of closings) line.own &&= isToldByStep(use) && use.settled === 0n
    return new Map(closings.filter(([{ own }]) => !own))
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
    const { run, holder, muted } = this.#options
    const charge: Charge = {
      tenantId: run.tenantId,
      runId: run.runId,
      holder,
      lines: changes,
      force: muted,
      approved,
      opens: lines.some(({ opened }) => !opened),
    }
    for (const line of lines) this.#lineOf.set(line.meter, line)
    if (!this.#reserves) this.#options.onReserving()
    this.#reserves = true
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
