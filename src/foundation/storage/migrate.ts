import { AppError } from '../app-error.ts'
import type { Database, Tx } from './database.ts'

interface Migration {
  /** Its statements, in order. */
  readonly UP: readonly string[]
}

/** Every migration in order, loaded when it is applied. A name, once released, is never changed. */
const MIGRATIONS: Readonly<Record<string, () => Promise<Migration>>> = {
  '0001-governed-run': () => import('./migrations/0001-governed-run.ts'),
  '0002-pauses': () => import('./migrations/0002-pauses.ts'),
  '0003-waits-and-approvals': () => import('./migrations/0003-waits-and-approvals.ts'),
  '0004-budgets': () => import('./migrations/0004-budgets.ts'),
  '0005-stop-scopes': () => import('./migrations/0005-stop-scopes.ts'),
  '0006-reactor': () => import('./migrations/0006-reactor.ts'),
  '0007-audit-and-alerts': () => import('./migrations/0007-audit-and-alerts.ts'),
  '0008-policy-checks': () => import('./migrations/0008-policy-checks.ts'),
  '0009-budget-lineage': () => import('./migrations/0009-budget-lineage.ts'),
  '0010-stop-orders': () => import('./migrations/0010-stop-orders.ts'),
  '0011-outbox-positions': () => import('./migrations/0011-outbox-positions.ts'),
  '0012-shared-contracts': () => import('./migrations/0012-shared-contracts.ts'),
  '0013-narrow-rows': () => import('./migrations/0013-narrow-rows.ts'),
  '0014-asked-looks': () => import('./migrations/0014-asked-looks.ts'),
  '0015-ledger-members': () => import('./migrations/0015-ledger-members.ts'),
  '0016-reactors-by-handlers': () => import('./migrations/0016-reactors-by-handlers.ts'),
  '0017-looks-of-changes': () => import('./migrations/0017-looks-of-changes.ts'),
  '0018-outbox-batches': () => import('./migrations/0018-outbox-batches.ts'),
}

// One process applies what is missing, in one transaction; others wait for it, and find nothing to do.
const BEGIN = [
  `select pg_advisory_xact_lock(hashtextextended('concordat.migrations', 0))`,
  'create schema if not exists concordat',
  'create table if not exists concordat.migrations (name text primary key, applied_at timestamptz not null default now())',
]
const APPLIED = 'select name from concordat.migrations order by name'
const MARK = 'insert into concordat.migrations (name) values ($1)'

export interface SchemaState {
  /** Migrations that the database has, oldest first. */
  readonly applied: readonly string[]
  /** Migrations of this version that it lacks. */
  readonly pending: readonly string[]
  /** Migrations that it has and this version doesn't know: it belongs to a newer Concordat. */
  readonly unknown: readonly string[]
}

/** Where the database's schema stands against this version's. Changes nothing. */
export async function schemaState(database: Database): Promise<SchemaState> {
  const [table] = await database.query<{ found: string | null }>(
    `select to_regclass('concordat.migrations')::text as found`,
  )
  const applied = table?.found ? await appliedTo(database) : []
  const known = Object.keys(MIGRATIONS)
  return {
    applied,
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  }
}

/**
 * Brings the schema up to this version; safe when several processes start at once. Returns what it applied.
 * Fails with `SCHEMA_NEWER` when a newer Concordat has already changed it, with `INVALID_CONFIGURATION` when it is not ours.
 */
export async function migrate(database: Database): Promise<readonly string[]> {
  const state = await schemaState(database)
  if (state.unknown.length > 0) {
    throw new AppError('SCHEMA_NEWER', `the database has migrations that this version does not know: ${state.unknown}`)
  }
  if (state.pending.length === 0) return []
  if (state.applied.length === 0 && (await hasRuns(database))) throw foreignSchema()
  return database.transaction(async (tx) => {
    await sendAll(tx, BEGIN)
    const applied = await appliedTo(tx) // another process may have been faster
    const pending = Object.entries(MIGRATIONS).filter(([name]) => !applied.includes(name))
    for (const [name, load] of pending) {
      const { UP } = await load()
      await Promise.all([sendAll(tx, UP), tx.query(MARK, [name])])
    }
    return pending.map(([name]) => name)
  })
}

async function hasRuns(tx: Tx): Promise<boolean> {
  const [table] = await tx.query<{ found: string | null }>(`select to_regclass('concordat.runs')::text as found`)
  return table?.found !== null
}

function foreignSchema(): AppError {
  return new AppError('INVALID_CONFIGURATION', 'the database has a schema "concordat" that no version of it lists', {
    hint: 'Name another database or folder; or, if nothing in it is needed, `drop schema concordat cascade`.',
  })
}

async function appliedTo(tx: Tx): Promise<string[]> {
  return (await tx.query<{ name: string }>(APPLIED)).map(({ name }) => name)
}

async function sendAll(tx: Tx, statements: readonly string[]): Promise<void> {
  await Promise.all(statements.map((statement) => tx.query(statement)))
}
