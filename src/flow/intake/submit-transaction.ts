import { AppError } from '../../foundation/app-error.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import { type Database, isUniqueViolation, lastFlight, statement, type Tx } from '../../foundation/storage/storage.ts'
import { insertAbsentRuns, insertRuns, type NewRun, runsByIdempotencyKey } from '../kernel/kernel.ts'
import { admission, type Denial } from './authorization.ts'

/** A run to be inserted as it is, or as its denial leaves it. */
export interface Submission {
  readonly run: NewRun
  /** Set when the user's own hook has refused it already. */
  readonly denied: { readonly denial: Denial; readonly run: NewRun } | null
  readonly deny: (denial: Denial) => NewRun
}

export type InsertOutcome = { readonly runId: string; readonly deduplicated: boolean; readonly denial: Denial | null }

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

/** One transaction for all: tenants are asked, runs are inserted with their contracts, `run.created` is in the outbox. */
export async function insertBatch(
  database: Database,
  newId: IdSource,
  submissions: readonly Submission[],
): Promise<InsertOutcome[]> {
  if (submissions.some(({ run }) => run.idempotencyKey !== null)) return insertAbsent(database, newId, submissions)
  try {
    return await insertAll(database, newId, submissions)
  } catch (error) {
    // Ids are new, so only a try whose commit went through and whose reply was lost can have left them.
    if (isUniqueViolation(error)) return insertAbsent(database, newId, submissions)
    throw error
  }
}

function insertAll(database: Database, newId: IdSource, submissions: readonly Submission[]): Promise<InsertOutcome[]> {
  return database.transaction(async (tx) => {
    const admitted = await admitAll(tx, submissions)
    const runs = admitted.map(({ run }) => run)
    const done = Promise.all([insertRuns(tx, runs), appendCreated(tx, newId, admitted)])
    return lastFlight(done.then(() => admitted.map(toOutcome)))
  })
}

/** Leaves out what is there already. It takes a round trip more, because who is announced depends on who is in. */
function insertAbsent(
  database: Database,
  newId: IdSource,
  submissions: readonly Submission[],
): Promise<InsertOutcome[]> {
  return database.transaction(async (tx) => {
    const admitted = await admitAll(tx, submissions)
    const runs = admitted.map(({ run }) => run)
    return settleKeyed(tx, newId, admitted, await insertAbsentRuns(tx, runs))
  })
}

async function admitAll(tx: Tx, submissions: readonly Submission[]): Promise<Admitted[]> {
  const tenantIds = [...new Set(submissions.map(({ run }) => run.tenantId))]
  const rows = await tx.query<TenantRow>(SELECT_TENANTS, [tenantIds])
  const tenants = new Map(rows.map((row) => [row.tenantId, row]))
  return submissions.map((submission) => admit(submission, tenants))
}

interface Admitted {
  readonly run: NewRun
  readonly denial: Denial | null
}

function admit({ run, denied, deny }: Submission, tenants: ReadonlyMap<string, TenantRow>): Admitted {
  const tenant = tenants.get(run.tenantId)
  if (!tenant) throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(run.tenantId)}`)
  const denial = admission(tenant, run.agent)
  if (denial) return { run: deny(denial), denial }
  return denied ?? { run, denial: null }
}

function toOutcome({ run, denial }: Admitted): InsertOutcome {
  return { runId: run.runId, deduplicated: false, denial }
}

/** Keys that were taken lead to the run that has them; its request must have been the same. */
async function settleKeyed(
  tx: Tx,
  newId: IdSource,
  admitted: readonly Admitted[],
  inserted: ReadonlySet<string>,
): Promise<InsertOutcome[]> {
  const taken = admitted.flatMap(({ run: { runId, tenantId, idempotencyKey } }) => {
    return inserted.has(runId) || idempotencyKey === null ? [] : [{ tenantId, idempotencyKey }]
  })
  const [earlier] = await Promise.all([
    taken.length > 0 ? runsByIdempotencyKey(tx, taken) : [],
    appendCreated(
      tx,
      newId,
      admitted.filter(({ run }) => inserted.has(run.runId)),
    ),
  ])
  const byKey = new Map(earlier.map((run) => [JSON.stringify([run.tenantId, run.idempotencyKey]), run]))
  return admitted.map((each) => {
    const { run } = each
    const first = byKey.get(JSON.stringify([run.tenantId, run.idempotencyKey]))
    if (!first || first.runId === run.runId) return toOutcome(each)
    if (first.requestDigest === run.requestDigest) return { runId: first.runId, deduplicated: true, denial: null }
    throw new AppError(
      'IDEMPOTENCY_CONFLICT',
      `idempotency key ${JSON.stringify(run.idempotencyKey)} was used for another request`,
      {
        details: { runId: first.runId },
      },
    )
  })
}

function appendCreated(tx: Tx, newId: IdSource, admitted: readonly Admitted[]): Promise<void> {
  const entries = admitted.map(({ run }) => {
    const { tenantId, runId, agent, agentVersion, priority, createdAt } = run
    const data = { agent, agentVersion, priority }
    return {
      tenantId,
      runId,
      events: [{ id: newId(), type: 'run.created' as const, time: createdAt.toISOString(), data }],
    }
  })
  return appendEvents(tx, entries)
}
