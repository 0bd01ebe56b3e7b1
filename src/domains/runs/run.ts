import type { SerializedError } from '../../foundation/app-error.ts'
import type { EncodedPayload } from '../../foundation/payload-codec.ts'
import type { RunOutcome } from './phases.ts'

/** A run by its full key. `runId` is the correlation key in every domain. */
export interface RunKey {
  readonly tenantId: string
  readonly runId: string
}

/**
 * How a run's work ended, before the domains agree on it. `reason` is an error code. Plain data: a run that can't be
 * finalised yet keeps it in its row until it can.
 */
export interface RunEnd {
  readonly outcome: RunOutcome
  readonly reason: string
  readonly message: string
  readonly error: SerializedError | null
  readonly output: EncodedPayload | null
  /** False when the run ended in the middle of a step whose result is not recorded. */
  readonly lastStepRecorded: boolean
}

/** Sums over a run's recorded steps. `null` tokens or cost: no step recorded any (absent is not zero). */
export interface RunTotals {
  readonly steps: number
  readonly failedSteps: number
  readonly traceGaps: number
  readonly toolCalls: number
  /** Model calls whose cost is not known. */
  readonly uncostedSteps: number
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly costNanoUsd: bigint | null
}

/** Why a run is stopped: a person wants it, its tenant was suspended, or its parent run has ended. */
export type StopKind = 'stop' | 'suspension' | 'parent'

/** A stop as its run keeps it: requested, delivered to the worker, confirmed by the steps that it aborted. */
export interface RunStop {
  readonly kind: StopKind
  readonly by: string
  /** As what; absent where nobody's authority was asked for, as of a parent's. */
  readonly as?: string
  readonly why: string
  /** The order that stopped it together with others of its tenant; absent where it was stopped by itself. */
  readonly orderId?: string
  /** This and the others are ISO 8601 UTC. */
  readonly requestedAt: string
  /** Absent until its worker has heard it; never there where nobody executed the run. */
  readonly deliveredAt?: string
  /** Null when the run has ended and a step had ignored its signal; absent until the run has ended. */
  readonly confirmedAt?: string | null
}

/** How a run will end that could not be finalised yet, and what is in the way. Stored in its row. */
export interface PendingEnd {
  readonly end: RunEnd
  readonly attempts: number
  /** The domain that refused, the phase that the last try reached, and its error. Null before the first try. */
  readonly blockedBy: string | null
  readonly phaseReached: string | null
  readonly error: string | null
}

export function pendingEnd(end: RunEnd): PendingEnd {
  return { end, attempts: 0, blockedBy: null, phaseReached: null, error: null }
}
