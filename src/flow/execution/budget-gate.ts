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
import { type BudgetLine, BudgetLines, chargeLine } from './budget-lines.ts'
import { closing, type HeldStep, least, most, overrunOf, settlement } from './budget-settlement.ts'
import { LateUsage } from './late-usage.ts'
import { boundOf, type StepBound } from './step-bound.ts'
import type { StepResult } from './step-spec.ts'
import { needOf, useOf } from './step-usage.ts'

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
  /** What steps have used since nobody could read the policies; null: they are known, or nobody has tried. */
  #unheld: Map<MeterMetric, bigint> | null = null

  constructor(options: BudgetGateOptions) {
    this.#options = options
    this.#lines = new BudgetLines(options.run)
    this.#takesOver = !options.fresh
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
  }

  /** Reserves for the step. Without a promise when that takes no flight. Fails with `LEASE_LOST`. */
  before(step: BudgetedStep, limits: readonly BudgetLimit[]): Promise<BudgetAnswer> | undefined {
    this.#lines.renew(limits, this.#options.clock.now())
    const lines = this.#lines.current
    if (lines.length === 0) return undefined
    const { kind, declared, estimate, approvedBy = null } = step
    const bound = boundOf(declared, estimate)
    const needs = new Map(lines.map((line) => [line, needOf(line.meter.metric, kind, bound)]))
    const held = { kind, declared, approvedBy, amounts: needs, approved: new Map(), running: null, result: null }
    const taken = new Map(lines.map((line) => [line, least(line.free, needs.get(line) ?? 0n)]))
    for (const [line, amount] of taken) {
      line.free -= amount
      line.most = most(line.most, needs.get(line) ?? 0n)
    }
    const isOver = ({ least: limit, seen }: BudgetLine) => limit !== null && seen > limit
    if (!this.#unheld && lines.every((line) => line.opened && taken.get(line) === needs.get(line) && !isOver(line))) {
      this.#held.set(step.key, held)
      return undefined
    }
    return this.#ask(step.key, held, taken)
  }

  async #ask(key: string, held: HeldStep, taken: ReadonlyMap<BudgetLine, bigint>): Promise<BudgetAnswer> {
    const { clock, random } = this.#options
    const lines = [...held.amounts.keys()]
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
    for (const [line, amount] of taken) line.free += amount
    if (reply.kind === 'broken') return { kind: 'broken', broken: reply.broken }
    const pauseMs = bounds.budgetRetryMs * (0.5 + random())
    return { kind: 'later', at: new Date(clock.nowMs() + pauseMs) }
  }

  /** The step's code is about to run. */
  begins(key: string, attempt: number): void {
    const held = this.#held.get(key)
    if (held) held.running = attempt
  }

  /** What recording the step's attempt changes in the ledger; undefined when nothing. */
  recording(row: StepRow): Recording | undefined {
    if (row.status === 'started') return undefined
    const held = this.#held.get(row.key)
    const lines = held ? [...held.amounts.keys()] : this.#lines.current
    if (lines.length === 0) {
      this.#addUnheld(row)
      return undefined
    }
    this.#held.delete(row.key)
    const goesOn = row.status !== 'waiting'
    const changes = lines.map((line) => {
      const settled = settlement(line, held, row)
      const ahead = goesOn ? most(line.most - line.free - line.asking, 0n) : 0n
      line.asking += ahead
      return chargeLine(line, { ...settled, ahead })
    })
    if (held) {
      const isEstimated = (line: BudgetLine) => (changes[lines.indexOf(line)]?.estimated ?? 0n) > 0n
      this.#expectLate(`${row.key}/${row.attempt}`, held, isEstimated)
    }
    return { charge: this.#charge(lines, changes), attributes: overrunOf(changes, held?.approvedBy ?? null) }
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

  /**
   * Settles steps that were aborted, and gives back what is reserved; when the run ends, its end does that. Fails when
   * the database does not answer, and may be called again then.
   */
  async close(ends: boolean): Promise<void> {
    const { lease, onClosed } = this.#options
    const held = [...this.#held.values()]
    const running = held.filter(({ running: attempt }) => attempt !== null)
    const holding = this.#lines.all.filter(({ free }) => free > 0n)
    const lines = new Set([...holding, ...held.flatMap(({ amounts }) => [...amounts.keys()])])
    if (lines.size > 0 && (!ends || running.length > 0)) {
      const changes = [...lines].map((line) => chargeLine(line, closing(line, held)))
      try {
        await this.#send(this.#charge([...lines], changes), lease)
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'LEASE_LOST')) throw error
      }
      this.#expectLateOf(changes)
      for (const line of lines) line.free = 0n
      this.#held.clear()
    }
    onClosed()
  }

  #expectLateOf(changes: readonly ChargeLine[]): void {
    const estimated = new Set(changes.filter((line) => line.estimated > 0n).map(({ meter }) => meter))
    for (const [key, held] of this.#held) {
      if (held.running === null || held.result !== null) continue
      this.#expectLate(`${key}/${held.running}`, held, (line) => estimated.has(line.meter))
    }
  }

  #expectLate(key: string, held: HeldStep, isEstimated: (line: BudgetLine) => boolean): void {
    this.#late.expect(key, held, isEstimated, this.#options.clock.nowMs())
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

  async #send(charge: Charge, lease: Lease | null): Promise<ChargeReply | null> {
    const takesOver = this.#takesOver && lease !== null
    if (takesOver) this.#takesOver = false // the first one only: a later one would give back what that has reserved
    const reply = await this.#options.charge({ charge, lease, takesOver })
    if (reply) this.heard(charge, reply)
    return reply
  }
}
