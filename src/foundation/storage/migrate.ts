import { sql } from 'kysely'
import { type Migration, type MigrationProvider, Migrator } from 'kysely/migration'
import { AppError } from '../app-error.ts'
import type { Database } from './database.ts'
import { databaseError } from './errors.ts'
import * as governedRun from './migrations/0001-governed-run.ts'
import * as pauses from './migrations/0002-pauses.ts'
import * as waitsAndApprovals from './migrations/0003-waits-and-approvals.ts'
import * as budgets from './migrations/0004-budgets.ts'
import * as stopScopes from './migrations/0005-stop-scopes.ts'
import * as reactor from './migrations/0006-reactor.ts'
import * as auditAndAlerts from './migrations/0007-audit-and-alerts.ts'
import * as policyChecks from './migrations/0008-policy-checks.ts'
import * as budgetLineage from './migrations/0009-budget-lineage.ts'
import * as stopOrders from './migrations/0010-stop-orders.ts'
import * as outboxPositions from './migrations/0011-outbox-positions.ts'
import * as sharedContracts from './migrations/0012-shared-contracts.ts'
import * as narrowRows from './migrations/0013-narrow-rows.ts'
import * as askedLooks from './migrations/0014-asked-looks.ts'
import * as ledgerMembers from './migrations/0015-ledger-members.ts'
import * as reactorsByHandlers from './migrations/0016-reactors-by-handlers.ts'
import * as looksOfChanges from './migrations/0017-looks-of-changes.ts'
import * as outboxBatches from './migrations/0018-outbox-batches.ts'

const SCHEMA = 'concordat'

/** Every migration in order. A name, once released, is never changed. */
const MIGRATIONS: Record<string, Migration> = {
  '0001-governed-run': governedRun,
  '0002-pauses': pauses,
  '0003-waits-and-approvals': waitsAndApprovals,
  '0004-budgets': budgets,
  '0005-stop-scopes': stopScopes,
  '0006-reactor': reactor,
  '0007-audit-and-alerts': auditAndAlerts,
  '0008-policy-checks': policyChecks,
  '0009-budget-lineage': budgetLineage,
  '0010-stop-orders': stopOrders,
  '0011-outbox-positions': outboxPositions,
  '0012-shared-contracts': sharedContracts,
  '0013-narrow-rows': narrowRows,
  '0014-asked-looks': askedLooks,
  '0015-ledger-members': ledgerMembers,
  '0016-reactors-by-handlers': reactorsByHandlers,
  '0017-looks-of-changes': looksOfChanges,
  '0018-outbox-batches': outboxBatches,
}

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
    `select to_regclass('concordat.kysely_migration')::text as found`,
  )
  const rows = table?.found
    ? await database.query<{ name: string }>('select name from concordat.kysely_migration order by name')
    : []
  const applied = rows.map((row) => row.name)
  const known = Object.keys(MIGRATIONS)
  return {
    applied,
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  }
}

/**
 * Brings the schema up to this version; safe when several processes start at once. Returns what it applied.
 * Fails with `SCHEMA_NEWER` when a newer Concordat has already changed it.
 */
export async function migrate(database: Database): Promise<readonly string[]> {
  const state = await schemaState(database)
  if (state.unknown.length > 0) {
    throw new AppError('SCHEMA_NEWER', `the database has migrations that this version does not know: ${state.unknown}`)
  }
  if (state.pending.length === 0) return []
  const provider: MigrationProvider = { getMigrations: async () => MIGRATIONS }
  try {
    await sql.raw(`create schema if not exists ${SCHEMA}`).execute(database.kysely)
  } catch (error) {
    // Two processes that create the schema at once: one of them gets a unique violation, and the schema is there.
    if ((error as { code?: string }).code !== '23505') throw databaseError(error)
  }
  const migrator = new Migrator({ db: database.kysely, provider, migrationTableSchema: SCHEMA })
  const { error, results = [] } = await migrator.migrateToLatest()
  if (error) throw databaseError(error)
  return results.map((result) => result.migrationName)
}
