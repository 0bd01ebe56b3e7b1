import { pendingEnd, type RunEnd, type RunKey, type RunStop, type StopKind } from '../../domains/runs/runs.ts'
import { limits } from '../../limits.ts'
import type { StopOrder, StopScope } from './stop-order-store.ts'
import type { StopBatch, StoppedRun, StopRequest } from './stop-store.ts'
import type { DueEnd } from './takeover-store.ts'

/** Who asks for a stop, and why; kept with the run. */
export interface StopNote {
  readonly kind: StopKind
  readonly by: string
  /** As what; left out where it is not a person's. */
  readonly as?: string | undefined
  readonly why: string
}

/** `executing`: a worker was told. `taken`: nobody executes it, and it is the caller's to end. `refused`: too late. */
export type StopAnswer =
  | { readonly kind: 'executing' }
  | { readonly kind: 'taken'; readonly due: DueEnd }
  | { readonly kind: 'refused' }

/** Some of a scope's runs whose stop is requested. */
export interface StoppedBatch {
  /** Those whose workers are to be told. */
  readonly executing: readonly RunKey[]
  /** Those that nobody executes: the caller's to end. */
  readonly taken: readonly DueEnd[]
  /** True when there was nothing left to stop. */
  readonly last: boolean
}

/** How a stopped run ends. Pure. */
export function stoppedEnd({ kind, by, why }: StopNote): RunEnd {
  if (kind === 'suspension') {
    const message = `the tenant was suspended by ${by}: ${why}`
    const error = { name: 'AppError', code: 'TENANT_SUSPENDED', message }
    return {
      outcome: 'failed_policy',
      reason: 'TENANT_SUSPENDED',
      message,
      error,
      output: null,
      lastStepRecorded: false,
    }
  }
  const message = kind === 'parent' ? `stopped with its parent ${by}: ${why}` : `stopped by ${by}: ${why}`
  return { outcome: 'cancelled', reason: 'RUN_STOPPED', message, error: null, output: null, lastStepRecorded: false }
}

export function stopRequest({ kind, by, as, why }: StopNote, at: Date): StopRequest {
  return requestOf({ kind, by, ...(as && { as }), why, requestedAt: at.toISOString() })
}

/** What an order asks of each of its runs. */
export function requestOf(stop: RunStop): StopRequest {
  return { stop, end: pendingEnd(stoppedEnd(stop)), takeoverMs: limits.takeoverMs }
}

export function stopOrder(scope: StopScope, { kind, by, as, why }: StopNote, orderId: string, at: Date): StopOrder {
  const createdUntil = new Date(at.getTime() + limits.stopOrderToleranceMs).toISOString()
  return {
    ...scope,
    orderId,
    createdUntil,
    stop: { kind, by, ...(as && { as }), why, orderId, requestedAt: at.toISOString() },
  }
}

export function dueEndOf({ tenantId, runId, leaseToken }: StoppedRun, { end }: StopRequest): DueEnd {
  return { tenantId, runId, leaseToken, pending: end }
}

export function stoppedBatch({ stopped, last }: StopBatch, request: StopRequest): StoppedBatch {
  return {
    executing: stopped.filter(({ workerId }) => workerId !== null),
    taken: stopped.filter(({ workerId }) => workerId === null).map((run) => dueEndOf(run, request)),
    last,
  }
}
