import { alertsOfRun, type StoredAlert } from '../../domains/alerts/alerts.ts'
import { type Approval, approvalsOfRun } from '../../domains/approvals/approvals.ts'
import {
  acksOfRuns,
  type ExpectationState,
  expectationStates,
  reconciliationOf,
  type StoredAck,
  type StoredReconciliation,
} from '../../domains/audit/audit.ts'
import { ledgerOfRun, type RunLedgerUse, shownAmount } from '../../domains/budgets/budgets.ts'
import { type Incident, IncidentFacade } from '../../domains/incidents/incidents.ts'
import { authoritiesOf, type Pause, pausesOfRun } from '../../domains/pauses/pauses.ts'
import {
  evaluationOfRun,
  type MetViolation,
  type PolicyEvaluation,
  violationsOfRun,
} from '../../domains/policies/policies.ts'
import {
  type ChildRun,
  childrenOf,
  isTerminal,
  type RunRow,
  type RunStop,
  type StepWithTrace,
  stepsOfRun,
} from '../../domains/runs/runs.ts'
import { type SignalWait, type StoredSignal, signalsOfRun, waitsOfRun } from '../../domains/signals/signals.ts'
import { type Trace, TraceFacade } from '../../domains/traces/traces.ts'
import type { Clock } from '../../foundation/clock.ts'
import { eventsOfRun, type StoredEvent } from '../../foundation/events/events.ts'
import type { Json } from '../../foundation/json.ts'
import { usdFromNano } from '../../foundation/money.ts'
import type { PayloadCodec } from '../../foundation/payload-codec.ts'
import type { Tx } from '../../foundation/storage/storage.ts'

/** A step as people and programs read it: payloads decoded, cost in US dollars, times in ISO 8601 UTC. */
export interface StepReport
  extends Omit<StepWithTrace, 'input' | 'output' | 'error' | 'attributes' | 'costNanoUsd' | 'tokensIn' | 'tokensOut'> {
  readonly input: Json
  readonly output: Json
  readonly error: Json
  readonly attributes: Json
  readonly costUsd: number | null
  readonly tokensIn: number | null
  readonly tokensOut: number | null
}

/** A step that waits, and what a signal for it must fit: JSON Schema, or null. */
export interface WaitReport extends Pick<SignalWait, 'stepKey' | 'name' | 'dueAt'> {
  readonly schema: Json
}

/** A pause, with who may resume it while it lasts. */
export interface PauseReport extends Omit<Pause, 'tenantId' | 'runId'> {
  readonly resumableBy: readonly string[]
}

/** A row of the ledger of budgets that is the run's own, or of which it has something reserved; in the metric's unit. */
export interface RunBudget {
  /** `run/ID`, `agent/NAME`, `key/ID`, `tenant`. */
  readonly subject: string
  readonly metric: string
  readonly window: string
  /** When the period began; null where that is the run. */
  readonly since: Date | null
  readonly used: number
  readonly reserved: number
  /** Of what is reserved: by this run. */
  readonly held: number
  readonly overrun: number
  readonly estimated: number
}

/** How far the stop of a run has come. `unconfirmed`: a step ignored its signal, and was left behind. */
export interface StopReport extends RunStop {
  readonly state: 'requested' | 'delivered' | 'confirmed' | 'unconfirmed'
}

/** Everything that is known of one run: the run itself and its whole footprint. */
export interface RunReport extends Omit<RunRow, 'input' | 'output' | 'error' | 'metadata' | 'expectations' | 'stop'> {
  readonly input: Json
  readonly output: Json
  readonly error: Json
  readonly metadata: Json
  readonly stop: StopReport | null
  readonly steps: readonly StepReport[]
  /** The oldest first; the last one lasts where the run is paused. */
  readonly pauses: readonly PauseReport[]
  readonly incident: Incident | null
  readonly evaluation: PolicyEvaluation | null
  /** What stood against its steps so far; once it has ended, what its evaluation says. */
  readonly violations: readonly MetViolation[]
  /** Its own first. */
  readonly budgets: readonly RunBudget[]
  readonly trace: Trace | null
  readonly expectations: readonly ExpectationState[]
  readonly acks: readonly StoredAck[]
  readonly reconciliation: StoredReconciliation | null
  readonly alerts: readonly StoredAlert[]
  /** The runs that its steps have started. */
  readonly children: readonly ChildRun[]
  /** Steps that wait for a signal and have none. */
  readonly waits: readonly WaitReport[]
  readonly signals: readonly StoredSignal[]
  /** What its steps asked people to decide, in that order, without their actions. */
  readonly approvals: readonly Approval[]
  readonly events: readonly StoredEvent[]
}

export interface ReportContext {
  readonly codec: PayloadCodec
  readonly clock: Clock
}

/** Reads the footprint of a run from its domains. */
export async function reportOf(tx: Tx, { codec, clock }: ReportContext, run: RunRow): Promise<RunReport> {
  const decode = (text: string | null): Json => (text === null ? null : codec.decode(text))
  const { tenantId, runId } = run
  const [
    steps,
    pauses,
    incident,
    evaluation,
    trace,
    acks,
    reconciliation,
    alerts,
    waits,
    signals,
    approvals,
    events,
    children,
    ledger,
  ] = await Promise.all([
    stepsOfRun(tx, run),
    pausesOfRun(tx, run),
    IncidentFacade.ofRun(tx, run),
    evaluationOfRun(tx, run),
    TraceFacade.ofRun(tx, run),
    acksOfRuns(tx, [run]),
    reconciliationOf(tx, tenantId, runId),
    alertsOfRun(tx, run),
    isTerminal(run.phase) ? [] : waitsOfRun(tx, run),
    signalsOfRun(tx, run),
    approvalsOfRun(tx, run),
    eventsOfRun(tx, run),
    childrenOf(tx, run),
    ledgerOfRun(tx, run),
  ])
  return {
    ...run,
    input: decode(run.input),
    output: decode(run.output),
    error: parse(run.error),
    metadata: decode(run.metadata),
    stop: run.stop && { ...run.stop, state: stopState(run.stop, isTerminal(run.phase)) },
    steps: steps.map((step) => stepReport(step, decode)),
    pauses: pauses.map(pauseReport),
    incident,
    evaluation,
    violations: evaluation?.violations ?? (await violationsOfRun(tx, run)),
    budgets: ledger.map(budgetReport),
    trace,
    expectations: expectationStates(run.expectations, acks, { ...run, ended: isTerminal(run.phase) }, clock.now()),
    acks,
    reconciliation,
    alerts,
    children,
    waits: waits.map(({ stepKey, name, dueAt, schema }) => ({ stepKey, name, dueAt, schema: parse(schema) })),
    signals,
    approvals,
    events,
  }
}

/** Pure. Of a run that has ended and that nobody executed, there was nothing to deliver it to. */
function stopState({ deliveredAt, confirmedAt }: RunStop, ended: boolean): StopReport['state'] {
  if (confirmedAt === null) return 'unconfirmed'
  if (confirmedAt !== undefined || ended) return 'confirmed'
  return deliveredAt === undefined ? 'requested' : 'delivered'
}

function budgetReport({ subject, metric, period, periodStart, ...amounts }: RunLedgerUse): RunBudget {
  const shown = (value: bigint) => shownAmount(metric, value)
  const { settled, reserved, held, overrun, estimated } = amounts
  return {
    subject,
    metric,
    window: period,
    since: period === 'run' ? null : periodStart,
    used: shown(settled),
    reserved: shown(reserved),
    held: shown(held),
    overrun: shown(overrun),
    estimated: shown(estimated),
  }
}

function pauseReport({ tenantId: _tenant, runId: _run, ...pause }: Pause): PauseReport {
  return { ...pause, resumableBy: pause.endedAt === null ? authoritiesOf(pause) : [] }
}

function stepReport(step: StepWithTrace, decode: (text: string | null) => Json): StepReport {
  const { input, output, error, attributes, costNanoUsd, tokensIn, tokensOut, ...rest } = step
  return {
    ...rest,
    input: decode(input),
    output: decode(output),
    error: parse(error),
    attributes: parse(attributes),
    costUsd: costNanoUsd === null ? null : usdFromNano(costNanoUsd),
    tokensIn: tokensIn === null ? null : Number(tokensIn),
    tokensOut: tokensOut === null ? null : Number(tokensOut),
  }
}

function parse(text: string | null): Json {
  return text === null ? null : (JSON.parse(text) as Json)
}
