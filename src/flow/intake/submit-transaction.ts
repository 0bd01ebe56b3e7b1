import { writeContracts } from '../../domains/audit/audit.ts'
import { AppError } from '../../foundation/app-error.ts'
import { type Database, isRetryable, lastFlight, statement, type Tx } from '../../foundation/storage/storage.ts'
import {
  type Claim,
  type EagerSlot,
  type EarlierRun,
  existingRuns,
  insertAndStart,
  insertChildren,
  insertRuns,
  type NewRun,
  runsByIdempotencyKey,
} from '../kernel/kernel.ts'
import { admission, type Denial } from './authorization.ts'

/** A run to be inserted as it is, or as its denial leaves it. */
export interface Submission {
  readonly run: NewRun
  /** Set when the user's own hook has refused it already: `run` is what that leaves. */
  readonly denial: Denial | null
  readonly deny: (denial: Denial) => NewRun
  /** Where it can be executed at once, if it is admitted; null to queue it. */
  readonly slot: EagerSlot | null
}

export interface InsertOutcome {
  readonly runId: string
  readonly deduplicated: boolean
  readonly denial: Denial | null
  /** Set when the run was started with its submission, in the slot that was kept for it. */
  readonly claim: Claim | null
  /** Why the request was refused and left nothing; null when the run is in. */
  readonly refusal: AppError | null
}

interface TenantRow {
  readonly tenantId: string
  readonly status: string
  readonly allowedAgents: string[] | null
}

const SELECT_TENANTS = statement(
  'tenants_for_admission',
  `select tenant_id as "tenantId", status, allowed_agents as "allowedAgents"
     from concordat.tenants where tenant_id = any($1::text[])`,
)

/** A tenant that is suspended and let in again in between costs one; so does a denial, which is a run of its own. */
const TRIES_MAX = 5

/**
 * One transaction in one flight for all: the runs that their tenants admit are inserted with their contracts, and
 * `run.created` of each is in the outbox. Those with a slot are started with it; if that fails, they are queued like the
 * others. What was left out is told apart afterwards; it is the exception.
 */
export async function insertBatch(
  database: Database,
  submissions: readonly Submission[],
  triesLeft = TRIES_MAX,
): Promise<InsertOutcome[]> {
  const inserted = await insertTogether(database, submissions)
  const leftOut = submissions.filter(({ run }) => !inserted.has(run.runId))
  const settled = leftOut.length > 0 ? await settleLeftOut(database, leftOut, triesLeft - 1) : new Map()
  return submissions.map(({ run, denial }) => {
    return settled.get(run.runId) ?? { ...outcomeOf(run, denial), claim: inserted.get(run.runId) ?? null }
  })
}

/** The runs that are in, with the claim of each that was started. */
async function insertTogether(
  database: Database,
  submissions: readonly Submission[],
): Promise<Map<string, Claim | null>> {
  try {
    return await database.transaction(async (tx) => lastFlight(insertAll(tx, submissions)))
  } catch (error) {
    if (isRetryable(error) || submissions.every(({ slot }) => slot === null)) throw error
    const queued = submissions.map((submission) => ({ ...submission, slot: null }))
    return database.transaction(async (tx) => lastFlight(insertAll(tx, queued)))
  }
}

async function insertAll(tx: Tx, submissions: readonly Submission[]): Promise<Map<string, Claim | null>> {
  const byWorker = Map.groupBy(submissions, ({ slot, run }) => (run.parent ? 'children' : slot?.workerId))
  const writes = [...byWorker].map(async ([workerId, group]) => {
    const runs = group.map(({ run }) => run)
    if (workerId !== undefined && workerId !== 'children') return insertAndStart(tx, workerId, runs, lastCreation(runs))
    const insert = workerId === undefined ? insertRuns : insertChildren
    return new Map([...(await insert(tx, runs))].map((runId) => [runId, null]))
  })
  // Behind them, since it may wait for others that submit too.
  const [maps] = await Promise.all([
    Promise.all(writes),
    writeContracts(
      tx,
      submissions.map(({ run }) => run),
    ),
  ])
  return new Map(maps.flatMap((map) => [...map]))
}

/** None of the batch is started before it was submitted. */
function lastCreation(runs: readonly NewRun[]): Date {
  return new Date(Math.max(...runs.map(({ createdAt }) => createdAt.getTime())))
}

function outcomeOf({ runId }: NewRun, denial: Denial | null): InsertOutcome {
  return { runId, deduplicated: false, denial, claim: null, refusal: null }
}

/** Why each was left out: an unknown tenant, one that does not admit it, or an idempotency key that is taken. */
async function settleLeftOut(
  database: Database,
  leftOut: readonly Submission[],
  triesLeft: number,
): Promise<Map<string, InsertOutcome>> {
  const tenantIds = new Set(leftOut.map(({ run }) => run.tenantId))
  const tenantRows = await database.query<TenantRow>(SELECT_TENANTS, [[...tenantIds]])
  const tenants = new Map(tenantRows.map((row) => [row.tenantId, row]))
  const outcomes = new Map<string, InsertOutcome>()
  const denied: Submission[] = []
  const others: Submission[] = []
  for (const { run, denial: refused, deny } of leftOut) {
    const tenant = tenants.get(run.tenantId)
    const denial = tenant && run.pending === null ? admission(tenant, run.agent) : null
    if (!tenant) outcomes.set(run.runId, refusalOf(run, unknownTenant(run)))
    else if (denial) denied.push({ run: deny(denial), denial, deny, slot: null })
    else others.push({ run, denial: refused, deny, slot: null })
  }
  const otherRuns = others.map(({ run }) => run)
  for (const run of await settleTaken(database, otherRuns)) outcomes.set(run.asked, run.outcome)
  // Its own id was taken: an earlier try went through and only its reply was lost.
  const there = otherRuns.length > 0 ? await existingRuns(database, otherRuns) : new Set()
  // Neither: its tenant has been let in again since.
  const missing = others.filter(({ run: { runId } }) => !outcomes.has(runId) && !there.has(runId))
  const again = [...denied, ...missing]
  if (triesLeft === 0) {
    for (const { run } of again) outcomes.set(run.runId, refusalOf(run, run.parent ? parentLost(run) : notStored(run)))
    return outcomes
  }
  const recorded = again.length > 0 ? await insertBatch(database, again, triesLeft) : []
  again.forEach(({ run }, i) => {
    outcomes.set(run.runId, recorded[i] as InsertOutcome)
  })
  return outcomes
}

/** A key that was taken leads to the run that has it; its request must have been the same. */
async function settleTaken(
  database: Database,
  runs: readonly NewRun[],
): Promise<{ readonly asked: string; readonly outcome: InsertOutcome }[]> {
  const keys = runs.flatMap(({ tenantId, idempotencyKey }) =>
    idempotencyKey === null ? [] : { tenantId, idempotencyKey },
  )
  if (keys.length === 0) return []
  const earlier = await runsByIdempotencyKey(database, keys)
  const byKey = new Map(earlier.map((run) => [JSON.stringify([run.tenantId, run.idempotencyKey]), run]))
  return runs.flatMap((run) => {
    const first = byKey.get(JSON.stringify([run.tenantId, run.idempotencyKey]))
    if (!first) return []
    const same = first.requestDigest === run.requestDigest
    const outcome = same ? outcomeOf(run, denialOf(first)) : refusalOf(run, keyConflict(run, first.runId))
    const deduplicated = first.runId !== run.runId
    return { asked: run.runId, outcome: { ...outcome, runId: first.runId, deduplicated } }
  })
}

/** The same answer again: of a run that was denied, its denial. */
function denialOf({ deniedWith }: EarlierRun): Denial | null {
  if (deniedWith === null) return null
  const { code, message } = JSON.parse(deniedWith) as { code: Denial['code']; message: string }
  return { code, reason: message }
}

function refusalOf({ runId }: NewRun, refusal: AppError): InsertOutcome {
  return { runId, deduplicated: false, denial: null, claim: null, refusal }
}

function notStored({ runId }: NewRun): AppError {
  return new AppError('DATABASE_ERROR', `the database leaves run ${runId} out although nothing stands against it`)
}

/** A child that nothing else stands against: its parent has ended, or was given to another worker. */
function parentLost({ parent }: NewRun): AppError {
  return new AppError('LEASE_LOST', `run ${parent?.runId} is no longer this worker's to write`)
}

function unknownTenant({ tenantId }: NewRun): AppError {
  return new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
}

function keyConflict({ idempotencyKey }: NewRun, runId: string): AppError {
  const message = `idempotency key ${JSON.stringify(idempotencyKey)} was used for another request`
  return new AppError('IDEMPOTENCY_CONFLICT', message, { details: { runId } })
}
