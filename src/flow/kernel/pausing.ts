import {
  Authority,
  insertPause,
  type NewPause,
  nextMoment,
  type PauseSla,
  scheduleOf,
} from '../../domains/pauses/pauses.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Json } from '../../foundation/json.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Database, Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { requestApproval } from './approval-effects.ts'
import type { Lease, PauseOrder, PauseRequest } from './messages.ts'
import { databaseNow, lockRequestedPause, pauseLeased, requestPause } from './paused-run-store.ts'

export interface PausingContext {
  readonly database: Database
  readonly newId: IdSource
  readonly pauseSla: PauseSla
}

/** Who pauses what Concordat pauses by itself. */
export const SYSTEM = { by: 'concordat', as: Authority.SYSTEM_AUTO } as const

/** Who asks for a pause, and why; all of it is kept with the run. */
export interface PauseAsk extends RunKey {
  readonly by: string
  readonly as: Authority
  readonly why: string
}

/**
 * `paused`: nobody executed it, and it is paused. `requested`: its worker, or the one that claims it, pauses it before
 * its next step. `refused`: it is paused, about to be, or past pausing.
 */
export type PauseAnswer = 'paused' | 'requested' | 'refused'

/** Pauses a run for the worker that executes it. False when the lease is lost or a stop came first. */
export function pauseRun(context: PausingContext, lease: Lease, order: PauseOrder): Promise<boolean> {
  return context.database.transaction(async (tx) => {
    const pause = newPause(context, { ...lease, ...SYSTEM, pauseId: context.newId(), order }, await databaseNow(tx))
    if (!(await pauseLeased(tx, lease, pause.pauseId, nextMoment(pause)))) return false
    await begin(tx, context, pause)
    if (order.approval) await requestApproval(tx, context, pause, order.approval)
    return true
  })
}

/** The same as a person has asked for it. False also when the request was withdrawn. */
export function pauseAsRequested(context: PausingContext, lease: Lease): Promise<boolean> {
  return context.database.transaction(async (tx) => {
    const request = await lockRequestedPause(tx, lease)
    if (request === null) return false
    const pause = newPause(context, { ...lease, ...request, order: manual(request) }, await databaseNow(tx))
    return (await pauseLeased(tx, lease, pause.pauseId, nextMoment(pause))) && begin(tx, context, pause)
  })
}

/** Pauses a run that nobody executes; of one that is queued or executed the request is kept. */
export function askForPause(
  context: PausingContext,
  { tenantId, runId, by, as, why }: PauseAsk,
): Promise<{ answer: PauseAnswer; workerId: string | null }> {
  return context.database.transaction(async (tx) => {
    const now = await databaseNow(tx)
    const request: PauseRequest = { pauseId: context.newId(), requestedAt: now.toISOString(), by, as, why }
    const pause = newPause(context, { tenantId, runId, ...request, order: manual(request) }, now)
    const row = await requestPause(tx, pause, request, nextMoment(pause))
    if (row === null) return { answer: 'refused', workerId: null }
    if (row.paused) await begin(tx, context, pause)
    return { answer: row.paused ? 'paused' : 'requested', workerId: row.workerId }
  })
}

function manual({ why }: PauseRequest): PauseOrder {
  return { reason: 'MANUAL_PAUSE', message: why }
}

interface Ordered extends RunKey {
  readonly pauseId: string
  readonly by: string
  readonly as: Authority
  readonly order: PauseOrder
}

/** The pause with all that follows from when it begins, and what is not yet done about it. */
function newPause({ pauseSla }: PausingContext, { tenantId, runId, pauseId, by, as, order }: Ordered, at: Date) {
  return {
    tenantId,
    runId,
    pauseId,
    reason: order.reason,
    message: safeText(order.message, limits.errorMessageCharsMax),
    detail: bounded(order.detail ?? null),
    approvers: order.approvers ?? null,
    pausedBy: by,
    pausedAs: as,
    pausedAt: at,
    resumeAt: order.resumeAt ?? null,
    ...scheduleOf({ ...pauseSla, slaMs: order.timeoutMs ?? pauseSla.slaMs }, at),
    warnedAt: null,
    escalatedAt: null,
  }
}

/** What led to a pause must not keep it from being recorded. */
function bounded(detail: Json): Json {
  const { length } = JSON.stringify(detail)
  return length <= limits.pauseDetailCharsMax ? detail : { omitted: `${length} characters` }
}

/** The second half of the write that paused the run. */
async function begin(tx: Tx, { newId }: PausingContext, pause: NewPause): Promise<true> {
  const { tenantId, runId, pauseId, reason, message, pausedBy: by, pausedAs: as, pausedAt, timeoutAt } = pause
  const data = { pauseId, reason, message, by, as, timeoutAt: timeoutAt.toISOString() }
  const event = { id: newId(), type: 'run.paused' as const, time: pausedAt.toISOString(), data }
  await insertPause(tx, pause)
  await appendEvents(tx, [{ tenantId, runId, events: [event] }])
  return true
}
