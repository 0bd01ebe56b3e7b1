import { ACTIONS, ackOf, writeAcks } from '../../domains/audit/audit.ts'
import { RunPhase, transition } from '../../domains/runs/runs.ts'
import { TraceFacade, traceIdOf } from '../../domains/traces/traces.ts'
import type { Clock } from '../../foundation/clock.ts'
import { appendEvents, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import { type Database, isRetryable, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { claimRuns, lockLimitedClaims } from './claim-store.ts'
import type { Claim, ClaimRequest } from './messages.ts'

export interface ClaimContext {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  /** False while traces are known to be down: then they are not even tried. */
  readonly mayTrace: () => boolean
  readonly onTraceError: (error: unknown, runId: string) => void
}

/**
 * One transaction: runs are claimed, and those that execute for the first time get their trace, its ack and their
 * events. If that fails, it is done again run by run, so that one run's trouble delays nobody else's.
 */
export async function claimTransaction(context: ClaimContext, request: ClaimRequest): Promise<Claim[]> {
  try {
    return await claimTogether(context, request)
  } catch (error) {
    if (isRetryable(error)) throw error
    return claimOneByOne(context, request)
  }
}

async function claimTogether(context: ClaimContext, request: ClaimRequest): Promise<Claim[]> {
  const at = context.clock.now()
  return context.database.transaction(async (tx) => {
    lockLimitedClaims(tx, request).catch(() => undefined) // the claim behind it in the same flight tells
    const claims = await claimRuns(tx, request, startTransition(at))
    const fresh = claims.filter((claim) => claim.fresh)
    if (fresh.length === 0) return claims
    const traced = context.mayTrace()
    const writes = [appendStarts(tx, context, fresh, traced, at), ...(traced ? startTraces(tx, fresh, at) : [])]
    return lastFlight(Promise.all(writes).then(() => (traced ? claims : claims.map(withoutTrace))))
  })
}

function withoutTrace(claim: Claim): Claim {
  return claim.fresh ? { ...claim, traceGap: 'the trace store is failing, not tried' } : claim
}

/** Each run behind a savepoint: first with its trace, then without, and if even that fails it goes back to the queue. */
async function claimOneByOne(context: ClaimContext, request: ClaimRequest): Promise<Claim[]> {
  const at = context.clock.now()
  return context.database.transaction(async (tx) => {
    await lockLimitedClaims(tx, request)
    const claims = await claimRuns(tx, request, startTransition(at))
    const begun: Claim[] = []
    for (const claim of claims) {
      if (!claim.fresh) begun.push(claim)
      else begun.push(...(await beginAlone(tx, context, claim, at)))
    }
    return begun
  })
}

async function beginAlone(tx: Tx, context: ClaimContext, claim: Claim, at: Date): Promise<Claim[]> {
  const traced = await attempt(tx, async () => {
    await Promise.all(startTraces(tx, [claim], at))
    await appendStarts(tx, context, [claim], true, at)
  })
  if (traced === null) return [claim]
  context.onTraceError(traced, claim.runId)
  const untraced = await attempt(tx, () => appendStarts(tx, context, [claim], false, at))
  if (untraced === null) return [{ ...claim, traceGap: traced.message }]
  await tx.query(PUT_BACK, [claim.tenantId, claim.runId])
  return []
}

/**
 * Later than the others of its lane, so that a run that can't even start does not hold them up; and still to be started
 * for the first time.
 */
const PUT_BACK = {
  name: 'runs_put_back',
  text: `update concordat.runs
            set worker_id = null, active_since = null, execution_started_at = null, waiting = 'RETRY', due_at = clock_timestamp() + interval '1 s'
          where tenant_id = $1 and run_id = $2`,
}

/** Null when it worked; else its error, with the transaction as it was before. */
async function attempt(tx: Tx, work: () => Promise<void>): Promise<Error | null> {
  await tx.query('savepoint begin_run')
  try {
    await work()
    await tx.query('release savepoint begin_run')
    return null
  } catch (error) {
    await tx.query('rollback to savepoint begin_run')
    return error instanceof Error ? error : new Error(String(error))
  }
}

function startTransition(at: Date): string {
  return JSON.stringify(transition(RunPhase.AUTHORIZED, RunPhase.EXECUTING, at, 'claimed by a worker'))
}

function startTraces(tx: Tx, claims: readonly Claim[], at: Date): Promise<void>[] {
  const starts = claims.map(({ tenantId, runId }) => ({ tenantId, runId, startedAt: at }))
  const acks = claims.map(({ tenantId, runId }) => {
    return { tenantId, runId, at, acks: [ackOf(ACTIONS.startTrace, 'SUCCESS', { resultId: traceIdOf(runId) })] }
  })
  return [TraceFacade.start(tx, starts), writeAcks(tx, acks)]
}

async function appendStarts(
  tx: Tx,
  { newId }: ClaimContext,
  claims: readonly Claim[],
  traced: boolean,
  at: Date,
): Promise<void> {
  const time = at.toISOString()
  const entries = claims.map(({ tenantId, runId, agent, agentVersion, workerId }) => {
    const started: RunEvent = { id: newId(), type: 'run.started', time, data: { agent, agentVersion, workerId } }
    const trace: RunEvent = { id: newId(), type: 'trace.started', time, data: { traceId: traceIdOf(runId) } }
    return { tenantId, runId, events: traced ? [started, trace] : [started] }
  })
  await appendEvents(tx, entries)
}
