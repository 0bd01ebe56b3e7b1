import type { Secrets } from '../../domains/agents/agents.ts'
import type { MetViolation, WindowUses } from '../../domains/policies/policies.ts'
import type { RunTotals, StepRecord } from '../../domains/runs/runs.ts'
import { AppError, deserializeError, type SerializedError, serializeError } from '../../foundation/app-error.ts'
import { backoffMs } from '../../foundation/backoff.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Json } from '../../foundation/json.ts'
import type { EncodedPayload, PayloadCodec } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { RunOrchestrationKernel } from '../kernel/kernel.ts'
import { ChildRuns, type ChildSpec, type StartChild } from './child-runs.ts'
import type { ObservabilityGuard } from './observability-guard.ts'
import type { Interruption, RunControl } from './run-control.ts'
import { type SignalSpec, SignalWaits } from './signal-waits.ts'
import { type ApprovalAsk, approversUnderPolicy, StepApprovals } from './step-approvals.ts'
import { type AttemptOutcome, runAttempt } from './step-attempt.ts'
import { interruptionBy, notRepeated, RecordedStepError } from './step-failures.ts'
import type { ComingStep, StepGate } from './step-gate.ts'
import { StepKeys } from './step-keys.ts'
import { type PlannedStep, StepRecorder } from './step-recorder.ts'
import type { StepResult, StepSpec, StepWrite } from './step-spec.ts'
import { NEVER, StepsInFlight } from './steps-in-flight.ts'

export interface StepExecutorOptions {
  readonly control: RunControl
  readonly kernel: RunOrchestrationKernel
  readonly startChild: StartChild
  readonly recorded: readonly StepRecord[]
  readonly guard: ObservabilityGuard
  readonly gate: StepGate
  readonly clock: Clock
  readonly newId: IdSource
  readonly codec: PayloadCodec
  readonly random: () => number
  readonly stepTimeoutMs: number
  readonly secrets: Secrets
}

const OUTPUT_LIMIT = { bytesMax: limits.stepOutputBytesMax, what: 'output', tooLargeCode: 'OUTPUT_TOO_LARGE' } as const
const INPUT_LIMIT = { bytesMax: limits.runInputBytesMax, what: 'step input', tooLargeCode: 'INPUT_TOO_LARGE' } as const

/**
 * Executes the durable steps of one run. A step's result is committed before its promise settles; a recorded step
 * gives its recorded result or error again; an interruption leaves its promise pending for ever.
 */
export class StepExecutor {
  readonly #options: StepExecutorOptions
  readonly #keys: StepKeys
  readonly #recorder: StepRecorder
  readonly #flight: StepsInFlight
  readonly #waits: SignalWaits
  readonly #children: ChildRuns
  readonly #approvals: StepApprovals

  constructor(options: StepExecutorOptions) {
    this.#options = options
    this.#keys = new StepKeys(options.recorded)
    this.#recorder = new StepRecorder(options)
    this.#flight = new StepsInFlight(options.control, options.clock)
    this.#waits = new SignalWaits(options.kernel, options.codec)
    this.#children = new ChildRuns({ ...options, claim: options.control.claim })
    this.#approvals = new StepApprovals(options, options.control.claim)
  }

  /** True when no step is under way whose result is not recorded. */
  get settled(): boolean {
    return this.#flight.settled
  }

  /** Sums over the steps that are recorded; null when only the database knows. */
  get totals(): RunTotals | null {
    return this.#recorder.totals
  }

  /** What budgets have to do with the run's end. */
  get budget(): { readonly reserves: boolean; readonly windowUses: WindowUses } {
    const { reserves, windowUses } = this.#options.gate.budget
    return { reserves, windowUses }
  }

  /** The version of the tenant's policies that steps were held against last; null: none; undefined: nobody asks. */
  get policiesSeen(): number | null | undefined {
    return this.#options.gate.policiesSeen
  }

  /** The run ends: what it has used counts in limits that came since. */
  catchUp(): Promise<void> {
    return this.#options.gate.catchUp()
  }

  /** Settles what aborted steps may have used, and gives back what is reserved unless the run's end does. */
  close(ends: boolean): Promise<void> {
    return this.#options.gate.close(ends)
  }

  /** What stood against steps that this worker was about to run. */
  get violations(): readonly MetViolation[] {
    return this.#options.gate.met
  }

  /** Resolves when the code of every step in flight has returned, as after an interruption that it honours. */
  idle(): Promise<void> {
    return this.#flight.idle()
  }

  async run(spec: StepSpec): Promise<Json> {
    const { control } = this.#options
    if (this.#flight.closed) return NEVER
    this.#flight.enter()
    if (control.pauseRequested) return this.#flight.pause(null)
    try {
      const output = await this.#run(spec)
      this.#flight.leave()
      return output
    } catch (error) {
      if (!(error instanceof RecordedStepError)) control.interrupt(interruptionBy(error))
      this.#flight.leave()
      return error instanceof RecordedStepError ? Promise.reject(error.recorded) : NEVER
    }
  }

  // Here and below nothing is async that only passes on: each such function on a step's path costs every step.
  #run(spec: StepSpec): Promise<Json> | Json {
    const { codec, clock } = this.#options
    const input = codec.encode(spec.input, INPUT_LIMIT)
    const { key, seq, recorded } = this.#keys.next({ kind: spec.kind, name: spec.name, inputDigest: input.digest })
    const step: PlannedStep = {
      spec,
      key,
      seq,
      input,
      startedAt: recorded?.startedAt ?? clock.now(),
      stored: recorded !== undefined,
    }
    switch (recorded?.status) {
      case undefined:
        return this.#attempt(step, 1)
      case 'succeeded':
        return this.#output(recorded)
      case 'failed':
        return spec.keepsError
          ? this.#output(recorded)
          : this.#throw(JSON.parse(recorded.error ?? 'null') as SerializedError)
      case 'waiting':
        return this.#wake(step, recorded)
      case 'started':
        return this.#unknown(step, recorded)
    }
  }

  #output(recorded: StepRecord): Json {
    return recorded.output === null ? null : this.#options.codec.decode(recorded.output)
  }

  /** A sleep that is over, or a retry that is due. */
  #wake(step: PlannedStep, recorded: StepRecord): Promise<Json> {
    const { clock } = this.#options
    if (recorded.attempt === 0) return this.#attempt(step, 1, true) // asked for an approval, and not begun
    if (step.spec.signal) return this.#await(step, step.spec.signal, recorded)
    if (step.spec.child) return this.#child(step, step.spec.child, true)
    if (recorded.dueAt && recorded.dueAt > clock.now()) return this.#suspend(step, recorded.dueAt)
    if (step.spec.sleepMs === undefined) return this.#attempt(step, recorded.attempt + 1)
    return this.#succeed(step, recorded.attempt, { output: null })
  }

  /** It was started and its worker died: whether it took effect is not known. Idempotent steps never get here. */
  #unknown(step: PlannedStep, recorded: StepRecord): Promise<Json> {
    const { sideEffects, onUnknown, approval = {} } = step.spec
    if (sideEffects === false) return this.#attempt(step, recorded.attempt)
    if (onUnknown === 'ask')
      return this.#whenApproved(step, { ...approval, message: undefined }, 'REPEAT', recorded.attempt)
    const message = `step ${step.key} was started and then interrupted; whether it took effect is not known`
    return this.#fail(step, recorded.attempt, serializeError(new AppError('STEP_UNKNOWN', message)))
  }

  /** `asked`: somebody was asked whether it may run, which holds whatever is asked now. */
  #attempt(step: PlannedStep, attempt: number, asked = false): Promise<Json> {
    const checking = this.#options.gate.before(comingStep(step), step.spec)
    if (checking) return checking.then((refusal) => this.#goOn(step, attempt, asked, refusal))
    return this.#goOn(step, attempt, asked, null)
  }

  #goOn(step: PlannedStep, attempt: number, asked: boolean, refusal: Interruption | null): Promise<Json> {
    const { spec } = step
    const demanded = refusal?.kind === 'pause' && refusal.pause?.reason === 'APPROVAL_REQUIRED' ? refusal.pause : null
    if (refusal && !demanded) return this.#flight.yieldTo(refusal)
    if (this.#flight.closed) return this.#flight.never()
    const { message, detail } = demanded ?? {}
    const approvers = approversUnderPolicy(spec.approval?.approvers)
    const ask = demanded ? { ...spec.approval, approvers, message, detail, unreserved: true } : spec.approval
    if (ask || asked) return this.#whenApproved(step, ask ?? {}, 'ACTION', attempt)
    return this.#begin(step, attempt)
  }

  /** Nothing stands against it. `started`: its start is recorded. */
  #begin(step: PlannedStep, attempt: number, started = false): Promise<Json> {
    const { spec } = step
    if (spec.signal) return this.#await(step, spec.signal)
    if (spec.child) return this.#child(step, spec.child, false)
    if (spec.sleepMs !== undefined) return this.#sleep(step, attempt, spec.sleepMs)
    if (!spec.sideEffects || started) return this.#execute(step, attempt)
    return this.#record(step, { status: 'started', attempt }).then(() => this.#execute(step, attempt))
  }

  async #sleep(step: PlannedStep, attempt: number, ms: number): Promise<Json> {
    const dueAt = new Date(this.#options.clock.nowMs() + ms)
    await this.#record(step, { status: 'waiting', attempt, dueAt })
    return this.#suspend(step, dueAt)
  }

  /** Its start is recorded, where that is called for. */
  #execute(step: PlannedStep, attempt: number): Promise<Json> {
    const { control, gate, stepTimeoutMs, secrets } = this.#options
    const { spec, key } = step
    if (control.interruption) return this.#flight.never()
    const idempotencyKey = `${control.claim.runId}:${step.key}`
    gate.budget.begins(key, attempt)
    const outcome = runAttempt(spec, {
      control,
      attempt,
      idempotencyKey,
      secrets,
      timeoutMs: spec.timeoutMs ?? stepTimeoutMs,
      onLate: (result) => gate.budget.aborted(key, attempt, result),
    })
    if (outcome instanceof Promise) return outcome.then((settled) => this.#conclude(step, attempt, settled))
    return this.#conclude(step, attempt, outcome)
  }

  #conclude(step: PlannedStep, attempt: number, outcome: AttemptOutcome): Promise<Json> {
    const { control, gate } = this.#options
    if (control.interruption) {
      gate.budget.aborted(step.key, attempt, outcome.kind === 'done' ? outcome.result : null)
      return this.#flight.never() // late output is not recorded
    }
    if (outcome.kind === 'done') return this.#succeed(step, attempt, outcome.result)
    const error = serializeError(outcome.error)
    if (!outcome.retryable || attempt >= step.spec.retry.maxAttempts) return this.#fail(step, attempt, error)
    return this.#retry(step, attempt, error)
  }

  async #retry(step: PlannedStep, attempt: number, error: SerializedError): Promise<Json> {
    const { clock } = this.#options
    const { baseMs, capMs } = step.spec.retry
    const pauseMs = backoffMs({ attempt, baseMs, capMs, random: this.#options.random })
    const dueAt = new Date(clock.now().getTime() + pauseMs)
    await this.#record(step, { status: 'waiting', attempt, dueAt, error })
    return this.#suspend(step, dueAt)
  }

  /** Its child is started, unless it was; it has ended, or the slot is given back. `begun`: the wait for it is recorded. */
  async #child(step: PlannedStep, child: ChildSpec, begun: boolean): Promise<Json> {
    const { control, clock } = this.#options
    this.#recorder.lose() // what the run's children use, only the database knows
    this.#options.gate.budget.share()
    const mayBeThere = step.stored
    if (!begun) await this.#record(step, { status: 'waiting', attempt: 1 })
    const answer = await this.#children.look(step.key, child, mayBeThere)
    if (control.interruption) return this.#flight.never()
    switch (answer.kind) {
      case 'none':
        return this.#suspend(step, new Date(clock.now().getTime() + limits.childLookMs), answer.seen)
      case 'failed':
        return this.#fail(step, 1, serializeError(answer.error))
      case 'succeeded':
        return this.#succeed(step, 1, answer.result)
    }
  }

  /**
   * Asks somebody, because the agent says so or a policy does, and pauses the run for it. When it goes on, the step runs
   * once, or fails, by what they decided.
   */
  async #whenApproved(
    step: PlannedStep,
    ask: ApprovalAsk,
    purpose: 'ACTION' | 'REPEAT',
    attempt: number,
  ): Promise<Json> {
    const { key, input, stored, spec } = step
    const { kind, name } = spec
    const asking = { key, kind, name, input, stored }
    // What nobody has found room for yet is reserved before the approval is used up.
    const unreserved = ask.unreserved || purpose === 'REPEAT'
    const reserve = (by: string) => this.#options.gate.reserveApproved(comingStep(step), spec, by)
    const given = { purpose, attempt: Math.max(attempt, 1), ...(unreserved && { reserve }) }
    const answer = await this.#approvals.answer(asking, ask, given)
    if (this.#options.control.interruption) return this.#flight.never()
    switch (answer.kind) {
      case 'ask':
        if (!stored) await this.#record(step, { status: 'waiting', attempt: 0 })
        return this.#flight.pause(answer.pause)
      case 'refused':
        return this.#flight.yieldTo(answer.refusal)
      case 'granted':
        if (kind === 'approval') return this.#succeed(step, 1, { output: answer.decision })
        return this.#begin(step, attempt, answer.started)
      case 'rejected':
        if (kind === 'approval') return this.#succeed(step, 1, { output: answer.decision })
        break
      case 'expired':
        break
    }
    const error = purpose === 'REPEAT' ? notRepeated(key, answer.error) : answer.error
    return this.#fail(step, Math.max(attempt, 1), serializeError(error))
  }

  /** Its signal is there, its time is over, or it gives the slot back. */
  async #await(step: PlannedStep, signal: SignalSpec, recorded?: StepRecord): Promise<Json> {
    const { control, clock } = this.#options
    const dueAt = recorded?.dueAt ?? new Date(clock.now().getTime() + signal.timeoutMs)
    const { key: stepKey, spec } = step
    const answer = await this.#waits.inTurn(async () => {
      if (!recorded) await this.#record(step, { status: 'waiting', attempt: 1, dueAt })
      return this.#waits.look({ lease: control.claim, stepKey, name: spec.name, dueAt, signal })
    })
    switch (answer.kind) {
      case 'none':
        return this.#suspend(step, dueAt, answer.seen)
      case 'timed_out':
        return this.#fail(step, 1, serializeError(answer.error))
      case 'signal': {
        const { signalId, by, receivedAt } = answer.signal
        const attributes = { signalId, by, receivedAt: receivedAt.toISOString() }
        return this.#succeed(step, 1, { output: answer.payload, attributes })
      }
    }
  }

  #succeed(step: PlannedStep, attempt: number, result: StepResult): Promise<Json> {
    const { codec } = this.#options
    let output: EncodedPayload
    try {
      output = codec.encode(result.output, OUTPUT_LIMIT)
    } catch (error) {
      return this.#fail(step, attempt, serializeError(error), result) // what it has used is paid for
    }
    const failed = result.error !== undefined
    const recorded = this.#record(step, {
      status: failed ? 'failed' : 'succeeded',
      attempt,
      output,
      result,
      error: result.error ?? null,
    })
    return recorded.then(() => codec.decode(output.text)) // what a resume would get
  }

  async #fail(step: PlannedStep, attempt: number, error: SerializedError, result?: StepResult): Promise<never> {
    await this.#record(step, { status: 'failed', attempt, error, ...(result && { result }) })
    return this.#throw(error)
  }

  /** The same error now and on every resume: as it is read back. */
  #throw(error: SerializedError): never {
    throw new RecordedStepError(deserializeError(error))
  }

  /** Gives the slot back once the steps beside it are recorded too. */
  #suspend({ spec }: PlannedStep, dueAt: Date, signalsSeen: number | null = null): Promise<never> {
    const waiting = spec.child ? 'CHILD' : spec.signal ? 'SIGNAL' : spec.sleepMs === undefined ? 'RETRY' : 'TIMER'
    return this.#flight.suspend({ waiting, dueAt, signalsSeen })
  }

  #record(step: PlannedStep, write: StepWrite): Promise<void> {
    return this.#options.control.interruption ? this.#flight.never() : this.#recorder.record(step, write)
  }
}

/** The step as policies and budgets see it. */
function comingStep({ key, spec: { kind, name, tool = '' } }: PlannedStep): ComingStep {
  return { key, kind, name, tool }
}
