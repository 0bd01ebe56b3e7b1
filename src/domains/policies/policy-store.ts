import { AppError } from '../../foundation/app-error.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import { type IdSource, NO_RUN } from '../../foundation/ids.ts'
import { type Database, rowSet, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type PolicyChange, planChanges, type StoredPolicy } from './policy-changes.ts'
import type { PolicyDefinition } from './policy-document.ts'

const COLUMNS = `name, version, active, definition, created_at as "createdAt", retired_at as "retiredAt"`

/** The policies of a tenant in force, by name, the disabled ones among them. */
export async function listPolicies(tx: Tx, tenantId: string): Promise<StoredPolicy[]> {
  return tx.query<StoredPolicy>(
    `select ${COLUMNS} from concordat.policies where tenant_id = $1 and active order by name`,
    [tenantId],
  )
}

const VERSIONS_MAX = 1_000

/** The versions of one policy, the newest first, at most 1,000. Fails with `POLICY_NOT_FOUND`. */
export async function policyVersions(tx: Tx, tenantId: string, name: string): Promise<StoredPolicy[]> {
  const versions = await tx.query<StoredPolicy>(
    `select ${COLUMNS} from concordat.policies where tenant_id = $1 and name = $2 order by version desc limit $3`,
    [tenantId, name, VERSIONS_MAX],
  )
  if (versions.length > 0) return versions
  throw new AppError('POLICY_NOT_FOUND', `tenant ${tenantId} has no policy ${JSON.stringify(name.slice(0, 200))}`, {
    details: { tenantId },
  })
}

const ADDED = rowSet<PolicyChange>({
  name: ['text', ({ name }) => name],
  version: ['int', ({ version }) => version],
  enabled: ['bool', ({ definition }) => definition.enabled],
  definition: ['jsonb', ({ definition }) => JSON.stringify(definition)],
})

const INSERT = `insert into concordat.policies (tenant_id, active, ${ADDED.names})
  select $1, true, x.* from ${ADDED.from(2)} as x`

export interface ApplyOptions {
  /** What is in force and not wanted is removed. */
  readonly prune?: boolean
  readonly newId: IdSource
  readonly at: Date
}

/**
 * Puts the policies in force in one transaction, all or none, and tells with `policy.changed` what has changed; see
 * `planChanges`. Applies to one tenant wait for each
 * other. Fails with `UNKNOWN_TENANT`, and with `INVALID_POLICY` when the tenant would have more than 200.
 */
export async function applyPolicies(
  database: Database,
  tenantId: string,
  wanted: readonly PolicyDefinition[],
  { prune = false, newId, at }: ApplyOptions,
): Promise<PolicyChange[]> {
  return database.transaction(async (tx) => {
    await lockTenant(tx, tenantId)
    const latest = await tx.query<StoredPolicy>(
      `select distinct on (name) ${COLUMNS} from concordat.policies where tenant_id = $1 order by name, version desc`,
      [tenantId],
    )
    const changes = planChanges(latest, wanted, prune)
    refuseTooMany(tenantId, latest, changes)
    const retired = changes.filter(({ change }) => change === 'changed' || change === 'removed')
    await tx.query(
      `update concordat.policies set active = false, retired_at = now()
        where tenant_id = $1 and active and name = any($2::text[])`,
      [tenantId, retired.map(({ name }) => name)],
    )
    const added = changes.filter(({ change }) => change === 'changed' || change === 'created')
    await tx.query(INSERT, [tenantId, ...ADDED.values(added)])
    const told = changes.flatMap(({ definition, ...change }) => (change.change === 'unchanged' ? [] : [change]))
    if (told.length > 0) {
      const event = { id: newId(), type: 'policy.changed' as const, time: at.toISOString(), data: { changes: told } }
      await appendEvents(tx, [{ tenantId, runId: NO_RUN, events: [event] }])
    }
    return changes
  })
}

async function lockTenant(tx: Tx, tenantId: string): Promise<void> {
  const rows = await tx.query('select from concordat.tenants where tenant_id = $1 for no key update', [tenantId])
  if (rows.length === 0) throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
}

function refuseTooMany(tenantId: string, latest: readonly StoredPolicy[], changes: readonly PolicyChange[]): void {
  const change = (kind: PolicyChange['change']) => changes.filter((each) => each.change === kind).length
  const count = latest.filter(({ active }) => active).length + change('created') - change('removed')
  if (count <= limits.policiesPerTenantMax) return
  throw new AppError(
    'INVALID_POLICY',
    `tenant ${tenantId} would have ${count} policies; at most ${limits.policiesPerTenantMax} are allowed`,
    { hint: 'Remove some: with --prune, those that are not in the file go.' },
  )
}
