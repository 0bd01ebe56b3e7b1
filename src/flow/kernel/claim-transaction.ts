import type { Clock } from '../../foundation/clock.ts'
import { type Database, isRetryable, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { beginClaim, claimAndStart, claimRuns, startRun } from './claim-store.ts'
import type { Claim, ClaimRequest } from './messages.ts'

export interface ClaimContext {
  readonly database: Database
  readonly clock: Clock
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
  const traced = context.mayTrace()
  const claims = await context.database.transaction(async (tx) => {
    beginClaim(tx, request).catch(() => undefined) // the claim behind it in the same flight tells
    return lastFlight(claimAndStart(tx, request, traced, at))
  })
  return traced ? claims : claims.map(withoutTrace)
}

function withoutTrace(claim: Claim): Claim {
  return claim.fresh ? { ...claim, traceGap: 'the trace store is failing, not tried' } : claim
}

/** Each run behind a savepoint: first with its trace, then without, and if even that fails it goes back to the queue. */
async function claimOneByOne(context: ClaimContext, request: ClaimRequest): Promise<Claim[]> {
  const at = context.clock.now()
  return context.database.transaction(async (tx) => {
    await beginClaim(tx, request)
    const claims = await claimRuns(tx, request, at)
    const begun: Claim[] = []
    for (const claim of claims) {
      if (!claim.fresh) begun.push(claim)
      else begun.push(...(await beginAlone(tx, context, claim, at)))
    }
    return begun
  })
}

async function beginAlone(tx: Tx, context: ClaimContext, claim: Claim, at: Date): Promise<Claim[]> {
  const traced = await attempt(tx, () => startRun(tx, claim, true, at))
  if (traced === null) return [claim]
  context.onTraceError(traced, claim.runId)
  const untraced = await attempt(tx, () => startRun(tx, claim, false, at))
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
