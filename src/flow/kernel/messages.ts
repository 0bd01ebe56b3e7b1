import type { AuditExpectation } from '../../domains/audit/audit.ts'
import type { Charge } from '../../domains/budgets/budgets.ts'
import type { Authority, PauseReason } from '../../domains/pauses/pauses.ts'
import type { MetViolation } from '../../domains/policies/policies.ts'
import type {
  PendingEnd,
  RunKey,
  RunOutcome,
  RunPhase,
  RunStop,
  RunTotals,
  Transition,
  Waiting,
} from '../../domains/runs/runs.ts'
import type { SerializedError } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'
import type { EncodedPayload } from '../../foundation/payload-codec.ts'

/*
 * What worker and kernel say to each other: plain, serialisable data, so that the two can live in different processes.
 * Every message of a worker names its lease; "no row" means that the lease is lost.
 */

/** The right to write a run: the worker that holds it and the token that its claim raised. */
export interface Lease extends RunKey {
  /** Null: nobody executes the run; whoever raised the token may end it. */
  readonly workerId: string | null
  readonly leaseToken: number
  /**
   * Where its row was when it was claimed (its ctid). It is there as long as nobody has changed it, and found in a third
   * of the time; a row that has moved is looked up by its key.
   */
  readonly address?: string | undefined
}

/** Which run's step has started a run, and under which lease it must still be. */
export interface ParentLink {
  readonly runId: string
  readonly stepKey: string
  readonly leaseToken: number
  /** The run at the top: the parent itself, or its root. */
  readonly rootRunId: string
  /** Of the child: 1 below the root. */
  readonly depth: number
  /** The parent first. */
  readonly ancestors: readonly Ancestor[]
}

/** A run that waits for another one, directly or through those between: what that one uses, it uses. */
export interface Ancestor {
  readonly runId: string
  readonly agent: string
}

/** A run to be inserted, with its contract and first transitions. */
export interface NewRun extends RunKey {
  readonly agent: string
  readonly agentVersion: string
  readonly agentDigest: string
  readonly phase: RunPhase
  readonly priority: number
  /** When it may be claimed; null with `dueAt` in the future, or when `pending` already says how it ends. */
  readonly readyAt: Date | null
  readonly dueAt: Date | null
  readonly timeoutMs: number
  readonly idempotencyKey: string | null
  readonly requestDigest: string | null
  readonly input: EncodedPayload
  readonly metadata: string | null
  readonly pending: PendingEnd | null
  readonly transitions: readonly Transition[]
  readonly contractId: string
  readonly expectations: readonly AuditExpectation[]
  readonly createdAt: Date
  /** Null: nobody's child. */
  readonly parent: ParentLink | null
  /** Whose limits of scope `api_key` it counts in; null: nobody's. */
  readonly apiKeyId: string | null
}

/** An agent version that a worker can execute. `maxRunning` null: no limit per tenant. */
export interface Lane {
  readonly agent: string
  readonly version: string
  readonly digest: string
  readonly maxRunning: number | null
}

export interface ClaimRequest {
  readonly workerId: string
  readonly slots: number
  readonly lanes: readonly Lane[]
  /** The tenant served last: those after it come first. */
  readonly afterTenant: string
}

/** A run that is now this worker's to execute. */
export interface Claim extends Lease {
  readonly workerId: string
  readonly agent: string
  readonly agentVersion: string
  readonly agentDigest: string
  readonly phase: RunPhase
  /** The payload's JSON text. */
  readonly input: string
  readonly metadata: string | null
  readonly timeoutMs: number
  /** Time already spent executing, without waiting, in milliseconds. */
  readonly activeMs: number
  readonly workerLosses: number
  readonly createdAt: Date
  /** Set when it is to be stopped and not executed: by an order, or as was asked of a worker that was lost. */
  readonly stop: RunStop | null
  /** True when a person asked for a pause that has not begun: it begins before the next step. */
  readonly pauseRequested: boolean
  /** True when no worker has executed it before: it has no steps to resume from. */
  readonly fresh: boolean
  /** Why its trace could not be started; null when it was. */
  readonly traceGap: string | null
  readonly contractId: string
  readonly expectations: readonly AuditExpectation[]
  readonly executionStartedAt: Date
  /** The run that has started it, and the one at the top; null: it is nobody's child. */
  readonly parentRunId: string | null
  readonly rootRunId: string | null
  /** 0: nobody's child. */
  readonly depth: number
  /** The parent first. */
  readonly ancestors: readonly Ancestor[]
  readonly apiKeyId: string | null
  /** Which of its tenant's policies were in force when it was claimed. */
  readonly policiesVersion: number
  /** True when its tenant or its agent limits how many execute at once: another may wait for its end. */
  readonly limited: boolean
}

export type StepStatus = 'started' | 'waiting' | 'succeeded' | 'failed'

/** One step's row: checkpoint (key, status, output, error) and trace (the rest) in one. */
export interface StepRow {
  readonly key: string
  readonly seq: number
  readonly kind: string
  readonly name: string
  readonly status: StepStatus
  readonly attempt: number
  readonly dueAt: Date | null
  readonly startedAt: Date
  readonly endedAt: Date | null
  readonly latencyMs: number | null
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: bigint | null
  readonly inputDigest: string
  readonly input: EncodedPayload | null
  readonly output: EncodedPayload | null
  readonly error: SerializedError | null
  readonly attributes: string | null
  readonly traceGap: string | null
}

export interface RecordStep {
  readonly lease: Lease
  readonly step: StepRow
  /** True when the step has a row already: it was started or is waiting. */
  readonly stored: boolean
  /** What it changes in the ledger of budgets, in the same commit; left out where no budget bounds the run. */
  readonly charge?: Charge
}

/** Why a run gives its slot back without having ended. */
export interface Release {
  readonly lease: Lease
  readonly waiting: Waiting
  /** Null: ready at once. */
  readonly dueAt: Date | null
  /** Ready at once if the run has got more signals than these; null where it waits for none. */
  readonly signalsSeen: number | null
}

/** Why a run is paused by whoever executes it, before its next step. */
export interface PauseOrder {
  readonly reason: PauseReason
  /** For people: what stands against the next step. */
  readonly message: string
  /** What led to it, as violations, policy and versions, the approval's id. */
  readonly detail?: Json
  /** Of `APPROVAL_REQUIRED`: who may decide, and so resume; TENANT_ADMIN where it is left out. */
  readonly approvers?: readonly Authority[]
  /** How long it may last; PAUSE_SLA_SECONDS where it is left out. */
  readonly timeoutMs?: number
  /** Of `APPROVAL_REQUIRED`: what is to be decided; its time is the pause's. */
  readonly approval?: AskedApproval
  /** Of `RATE_LIMIT_SOFT`: when the window has room, and Concordat resumes the run by itself. */
  readonly resumeAt?: Date
}

/** An approval as a step asks for it. */
export interface AskedApproval {
  readonly approvalId: string
  readonly stepKey: string
  /** `REPEAT`: whether a step that may have acted already is to run again. */
  readonly purpose: 'ACTION' | 'REPEAT'
  readonly agent: string
  /** SHA-256 over the exact action. */
  readonly digest: string
  /** The policy that asks for it; null: the agent does. */
  readonly policy: string | null
  /** The action as people see it: the payload's stored text. */
  readonly action: string
}

/** A pause that a person asked for and that has not begun: kept in the run's row until its next step, or its claim. */
export interface PauseRequest {
  readonly pauseId: string
  readonly requestedAt: string
  readonly by: string
  readonly as: Authority
  readonly why: string
  /** When the worker that executes the run heard of it: no step begins after that. */
  readonly deliveredAt?: string
}

/** How a stop went: `requested → delivered → confirmed`, or `unconfirmed` when a step ignored it. */
export interface StopReport {
  readonly deliveredAt: Date
  readonly confirmedAt: Date | null
}

/** What a completion must know of a run, read under the lock that it holds until it commits. */
export interface HeldRun extends RunKey {
  readonly agent: string
  readonly phase: RunPhase
  /** Who asked for a stop, and why; null when nobody did. */
  readonly stop: RunStop | null
  readonly contractId: string
  readonly expectations: readonly AuditExpectation[]
  /** `domain/action` of the SUCCESS acks that are stored already. */
  readonly acked: readonly string[]
  readonly traceStarted: boolean
  readonly executionStartedAt: Date | null
  /** What stood against its steps on the way. */
  readonly violations: readonly MetViolation[]
  /** Of its own steps, and of its children's that have ended. */
  readonly totals: RunTotals
  readonly parentRunId: string | null
  /** True when runs that it has started have not ended. */
  readonly hasOpenChildren: boolean
}

/**
 * What a worker knows of a run that it alone has executed, from its first claim on, without having locked it. It may
 * have been stopped since, or its tenant's policies have changed: the transaction fails then, and reads.
 */
export interface KnownRun {
  readonly run: HeldRun
  readonly workerId: string
  readonly policiesVersion: number
}

/** A run's last write: everything its row gets when it ends. */
export interface FinishedRun extends RunKey {
  readonly leaseToken: number
  /** Where its row may be; see `Lease`. */
  readonly address: string | undefined
  readonly phase: 'COMPLETED' | 'FAILED'
  readonly outcome: RunOutcome
  readonly reason: string | null
  readonly output: EncodedPayload | null
  readonly error: SerializedError | null
  readonly transitions: readonly Transition[]
  readonly observability: 'FULL' | 'DEGRADED' | 'NONE'
  readonly steps: number
  readonly failedSteps: number
  readonly traceGaps: number
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: bigint | null
  readonly stop: StopReport | null
  readonly endedAt: Date
  /** The run that waits for it. */
  readonly parentRunId: string | null
  /** True: they are stopped with it. */
  readonly hasOpenChildren: boolean
  /** True when it may have something reserved of a budget, which its end gives back. */
  readonly reserves: boolean
  /** Set when nobody has locked the run and read what its end was decided on: it must still be as it is known. */
  readonly known: KnownRun | null
}
