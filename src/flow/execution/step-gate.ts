import type { BrokenLimit, BudgetLimit } from '../../domains/budgets/budgets.ts'
import type { PauseReason } from '../../domains/pauses/pauses.ts'
import {
  type ActivePolicy,
  keepViolations,
  type MetViolation,
  type PolicyBook,
  PolicyDecision,
  type PolicyViolation,
  type StepFacts,
  type ViolationOfRun,
  violationKey,
} from '../../domains/policies/policies.ts'
import type { RunTotals } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import { GroupCommit } from '../../foundation/group-commit.ts'
import type { Logger } from '../../foundation/log.ts'
import { type Database, isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { BudgetGate } from './budget-gate.ts'
import { judgedLimit, rememberedLimits, roomAgainAt } from './budget-limits.ts'
import type { BudgetAnswer, BudgetedStep } from './budget-port.ts'
import type { Budgets } from './budgets.ts'
import { type FactsAsked, type FactsRead, type PoliciesSeen, readCheckFacts } from './check-facts-store.ts'
import { MidExecutionPolicyChecker, type PolicyCheckResult } from './mid-execution-policy-checker.ts'
import { type CheckFacts, type JudgedViolation, worstOf } from './policy-check.ts'
import type { Interruption, RunControl } from './run-control.ts'
import { refusedEnd } from './run-end.ts'
import { isStoodAgainst, rememberedConditions } from './step-conditions.ts'

/** The step that is about to run. */
export interface ComingStep extends StepFacts {
  readonly key: string
}

/** The most that the step may use; see `StepSpec`. */
type StepBounds = Pick<BudgetedStep, 'declared' | 'estimate'>

export interface StepGateOptions extends Omit<ConstructorParameters<typeof MidExecutionPolicyChecker>[0], 'readFacts'> {
  readonly control: RunControl
  /** Sums over the run's recorded steps; null: only the database knows. */
  readonly totals: () => RunTotals | null
  readonly book: PolicyBook
  readonly read: (asked: FactsAsked) => Promise<FactsRead>
  readonly keep: (met: ViolationOfRun) => Promise<unknown>
  readonly budget: BudgetGate
  /** The limits among policies that the ledger keeps. */
  readonly limitsOf: (seen: PoliciesSeen) => readonly BudgetLimit[]
  /** Those that ask about the next step. */
  readonly conditionsOf: (seen: PoliciesSeen) => readonly ActivePolicy[]
  readonly clock: Clock
  readonly log: Logger
}

/**
 * What one run's steps pass before they run. It answers how the run is to be interrupted instead, or null: the step may
 * run.
 */
export class StepGate {
  readonly #options: StepGateOptions
  readonly #checker: MidExecutionPolicyChecker
  /** The policies as the run saw them last. */
  #seen: PoliciesSeen | null = null
  #limitsOf: PoliciesSeen | null = null
  #conditions: readonly ActivePolicy[] = []
  #budgetLimits: readonly BudgetLimit[] = []
  /** By their keys: what is kept with the run already. */
  readonly #met = new Map<string, MetViolation>()
  #checking: Promise<Interruption | null> | undefined

  constructor(options: StepGateOptions) {
    this.#options = options
    this.#checker = new MidExecutionPolicyChecker({ ...options, readFacts: () => this.#readFacts() })
    options.control.whenPoliciesChange(() => void this.#follow())
  }

  /** What this worker has seen stand against the run's steps. */
  get met(): readonly MetViolation[] {
    return [...this.#met.values()]
  }

  /** Reserves what steps may use, settles what they did. */
  get budget(): BudgetGate {
    return this.#options.budget
  }

  /** Undefined, without a promise, when nothing is looked at: most steps pass so. */
  before(step: ComingStep, bound: StepBounds): Promise<Interruption | null> | undefined {
    return this.#pass(step, bound)?.then((refusal) => {
      if (refusal === null) this.#followWhatCameMeanwhile()
      return refusal
    })
  }

  #pass(step: ComingStep, bound: StepBounds): Promise<Interruption | null> | undefined {
    const checking = this.#check(step)
    if (checking) return checking.then(async (refusal) => refusal ?? (await this.#reserve(step, bound)) ?? null)
    return this.#reserve(step, bound)
  }

  /**
   * Reserves for a step that somebody has approved: limits that ask for an approval don't refuse it, and what it takes
   * beyond them is recorded as an overrun that this person has approved. All others are kept.
   */
  async reserveApproved(step: ComingStep, bound: StepBounds, by: string): Promise<Interruption | null> {
    const limits = this.#limits()
    const { key, kind } = step
    const { declared, estimate } = bound
    const answer = await this.#options.budget.before({ key, kind, declared, estimate, approvedBy: by }, limits)
    this.#followWhatCameMeanwhile()
    return this.#answerToBudget(answer ?? null)
  }

  /** The version of the tenant's policies that steps were held against last; null: none; undefined: nothing is. */
  get policiesSeen(): number | null | undefined {
    return this.#options.enabled ? (this.#seen?.version ?? null) : undefined
  }

  /** The run ends here: what it has used counts in limits that came since its last step. */
  async catchUp(): Promise<void> {
    const { control, budget, log } = this.#options
    const { tenantId, runId } = control.claim
    try {
      await this.#readFacts()
      await budget.catchUp(this.#limits())
    } catch (error) {
      log.warn(
        { error, tenantId, runId },
        'what a run has used could not be counted in limits that came before its end',
      )
    }
  }

  /** The run stops executing here. Keeps what its last steps have broken, and settles what aborted ones may have used. */
  async close(ends: boolean): Promise<void> {
    const { budget } = this.#options
    await budget.close(ends)
    await this.#keep(this.#judged(budget.takeBroken()))
  }

  #reserve({ key, kind }: ComingStep, bound: StepBounds): Promise<Interruption | null> | undefined {
    const { budget } = this.#options
    const limits = this.#limits()
    const { declared, estimate } = bound
    const settled = budget.takeBroken()
    const asked = { key, kind, declared, estimate }
    const reserving = () => budget.before(asked, limits)
    if (settled.length === 0) return reserving()?.then((answer) => this.#answerToBudget(answer))
    // Nobody is asked to approve what another limit would then refuse.
    const beside = budget.brokenBy(asked).filter(({ limit }) => settled.every((each) => each.limit !== limit))
    const told = this.#answerToBudget({ kind: 'broken', broken: [...settled, ...beside] })
    return told.then(async (refusal) => refusal ?? this.#answerToBudget((await reserving()) ?? null))
  }

  async #answerToBudget(answer: BudgetAnswer): Promise<Interruption | null> {
    if (answer === null) return null
    if (answer.kind === 'later') return { kind: 'suspend', waiting: 'RETRY', dueAt: answer.at, signalsSeen: null }
    const judged = this.#judged(answer.broken)
    await this.#keep(judged)
    const worst = worstOf(judged, this.#options.muted)
    return worst ? this.#interruptionBy(worst, judged, roomAgainAt(answer.broken)) : null
  }

  #judged(broken: readonly BrokenLimit[]): JudgedViolation[] {
    return broken.map((each) => judgedLimit(each, this.#options.clock.now()))
  }

  /** The same list for as long as the policies are the same. */
  #limits(): readonly BudgetLimit[] {
    if (this.#seen !== this.#limitsOf) {
      this.#limitsOf = this.#seen
      this.#budgetLimits = this.#seen ? this.#options.limitsOf(this.#seen) : []
      this.#conditions = this.#seen ? this.#options.conditionsOf(this.#seen) : []
    }
    return this.#budgetLimits
  }

  /** Whether a condition on the next step stands against this one: a throttled check would miss it for good. */
  #isStoodAgainst(step: ComingStep): boolean {
    this.#limits() // both are of the policies that were seen last
    if (this.#conditions.length === 0) return false
    const { control, totals, clock, muted } = this.#options
    const { tenantId, agent, executionStartedAt } = control.claim
    const isTold = ({ name, effect }: ActivePolicy) => {
      return (muted || effect === 'warn') && this.met.some(({ policyId }) => policyId === name)
    }
    const facts = () => {
      const used = totals()
      const wallClockMs = Math.max(0, clock.now().getTime() - executionStartedAt.getTime())
      return used && { tenantId, agent, ...used, wallClockMs }
    }
    return this.#conditions.some((policy) => isStoodAgainst(policy, step, agent, facts) && !isTold(policy))
  }

  #check(step: ComingStep): Promise<Interruption | null> | undefined {
    const { control } = this.#options
    const isOther = this.#seen && control.policiesVersion > this.#seen.version
    if (isOther || this.#isStoodAgainst(step)) this.#checker.checkNext()
    const checked = this.#checker.checkBeforeStep(step)
    // What comes while a check is under way waits for what that one says.
    if (!(checked instanceof Promise)) return this.#checking
    const checking = checked.then((result) => {
      if (this.#seen === null) this.#checker.checkNext() // not even the first check could read them: the next step tries again
      return this.#answerTo(result)
    })
    const done = () => {
      if (this.#checking === checking) this.#checking = undefined
    }
    this.#checking = checking
    checking.then(done, done)
    return checking
  }

  /** A change that was heard of while a step was passing is one that came while it is under way. */
  #followWhatCameMeanwhile(): void {
    if (this.#seen && this.#options.control.policiesVersion > this.#seen.version) void this.#follow()
  }

  /** Steps under way count in limits that come into force meanwhile; whether the run may go on, the next check says. */
  async #follow(): Promise<void> {
    const { control, budget, log } = this.#options
    const { tenantId, runId } = control.claim
    if (this.#seen === null || !budget.isBusy) return
    try {
      await this.#readFacts()
      this.#checker.checkNext()
      await budget.follow(this.#limits())
    } catch (error) {
      log.warn({ error, tenantId, runId }, 'steps under way could not be counted in limits that have changed')
    }
  }

  async #readFacts(): Promise<CheckFacts> {
    const { control, totals, read } = this.#options
    const { tenantId, runId } = control.claim
    const used = totals()
    const known = this.#seen === null && used !== null ? this.#factsOfClaim(used) : null
    if (known) return known
    const { facts, policies, counting } = await read({
      tenantId,
      runId,
      policiesVersion: this.#seen?.version ?? null,
      totals: used,
    })
    const seen = policies ?? this.#seen
    this.#seen = seen
    this.#options.budget.goesOn(counting)
    return this.#withPolicies(facts, seen)
  }

  /** A run that was just claimed for the first time is known without a look: so is what was in force then. */
  #factsOfClaim(totals: RunTotals): CheckFacts | null {
    const { book, clock, control } = this.#options
    const { tenantId, agent, policiesVersion, executionStartedAt, fresh } = control.claim
    const policies = fresh && control.policiesVersion === policiesVersion ? book.at(tenantId, policiesVersion) : null
    if (!policies) return null
    this.#seen = { version: policiesVersion, now: policies, atStart: policies }
    const wallClockMs = Math.max(0, clock.now().getTime() - executionStartedAt.getTime())
    const run = { tenantId, agent, ...totals, wallClockMs }
    return this.#withPolicies({ run, stop: null, tenantSuspended: false }, this.#seen)
  }

  #withPolicies(facts: FactsRead['facts'], seen: PoliciesSeen | null): CheckFacts {
    const { now = [], atStart = [] } = seen ?? {}
    return { ...facts, policies: now, atStart, windowUse: null }
  }

  async #answerTo({ decision, reason, judged, worst, pauseReason }: PolicyCheckResult): Promise<Interruption | null> {
    await this.#keep(judged)
    if (decision === PolicyDecision.CONTINUE) return null
    return worst ? this.#interruptionBy(worst, judged) : pauseReason && pauseFor(pauseReason, reason, judged)
  }

  #interruptionBy(
    { violation, decision, pauseReason }: JudgedViolation,
    judged: readonly JudgedViolation[],
    resumeAt: Date | null = null,
  ): Interruption | null {
    if (pauseReason !== null) return pauseFor(pauseReason, violation.message, judged, resumeAt)
    return decision === PolicyDecision.TERMINATE ? this.#endBy(violation) : null
  }

  #endBy(violation: PolicyViolation): Interruption {
    const stopped = violation.type === 'MANUAL_STOP' // a person’s: it ends as a stop does
    if (stopped) return { kind: 'stop', stop: null, deliveredAt: this.#options.clock.now() }
    return { kind: 'end', end: refusedEnd(violation) }
  }

  /** Before anything is done about them, so that no kill loses them. What can’t be kept is acted upon all the same. */
  async #keep(judged: readonly JudgedViolation[]): Promise<void> {
    if (judged.length === 0) return
    const { control, keep, log } = this.#options
    const { tenantId, runId } = control.claim
    const met = judged.flatMap(({ violation, decision }) => {
      const key = violationKey(violation)
      if (violation.type === 'MANUAL_STOP' || this.#met.has(key)) return []
      const { at, ...rest } = violation
      return [[key, { ...rest, decision, at: at.toISOString() }] as const]
    })
    try {
      await Promise.all(met.map(([, violation]) => keep({ tenantId, runId, violation })))
      for (const [key, violation] of met) this.#met.set(key, violation)
    } catch (error) {
      log.error({ error, tenantId, runId }, 'what stands against a run’s next step could not be kept with it')
    }
  }
}

function pauseFor(
  reason: PauseReason,
  message: string,
  judged: readonly JudgedViolation[],
  resumeAt: Date | null = null,
): Interruption {
  const violations = judged.map(({ violation: { at, ...rest } }) => ({ ...rest, at: at.toISOString() }))
  const room = reason === 'RATE_LIMIT_SOFT' && resumeAt !== null && { resumeAt }
  return { kind: 'pause', pause: { reason, message, detail: { violations }, ...room } }
}

export interface StepGatesOptions
  extends Omit<StepGateOptions, 'control' | 'totals' | 'read' | 'keep' | 'budget' | 'limitsOf' | 'conditionsOf'> {
  readonly budgets: Budgets
  readonly database: Database
  readonly random: () => number
  /** How long a read waits for a database that is away, in milliseconds. */
  readonly retryForMs: number
}

export type OpenGate = (control: RunControl, totals: StepGateOptions['totals']) => StepGate

/** Opens a gate a run. What the checks of concurrent runs read goes out in one query. */
export function createStepGates(options: StepGatesOptions): OpenGate {
  const { database, book, budgets, random, retryForMs } = options
  const group = { batchMax: limits.checkBatchMax, flushersMax: 1, queueMax: limits.groupQueueMax, retryForMs }
  const reads = new GroupCommit<FactsAsked, FactsRead>({
    ...group,
    name: 'policy checks',
    flush: (asked) => readCheckFacts(database, asked, book),
    isRetryable,
    random,
  })
  const kept = new GroupCommit<ViolationOfRun, void>({
    ...group,
    name: 'policy violations',
    flush: async (met) => {
      await keepViolations(database, met)
      return met.map(() => undefined)
    },
    isRetryable,
    random,
  })
  const read = (asked: FactsAsked) => reads.add(asked)
  const keep = (met: ViolationOfRun) => kept.add(met)
  const limitsOf = rememberedLimits()
  const conditionsOf = rememberedConditions()
  return (control, totals) => {
    return new StepGate({
      ...options,
      control,
      totals,
      read,
      keep,
      limitsOf,
      conditionsOf,
      budget: budgets.open(control),
    })
  }
}
