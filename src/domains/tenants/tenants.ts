import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { issuesText } from '../../foundation/schema-issues.ts'
import { statement, type Tx } from '../../foundation/storage/storage.ts'

/** The customer on whose behalf runs execute. `maxRunning` null: no limit; `allowedAgents` null: every agent. */
export interface Tenant {
  readonly tenantId: string
  readonly status: 'active' | 'suspended'
  readonly maxRunning: number | null
  readonly allowedAgents: readonly string[] | null
}

const input = z.strictObject({
  tenantId: z.string().regex(/^[\w.:@-]{1,200}$/, { error: 'has 1 to 200 letters, digits or any of _ . : @ -' }),
  maxRunning: z.int().positive().max(2_147_483_647).nullable().default(null),
  allowedAgents: z.array(z.string().min(1).max(200)).max(1_000).nullable().default(null),
})
export type TenantInput = z.input<typeof input>

function readTenant(tenant: TenantInput): z.output<typeof input> {
  const parsed = input.safeParse(tenant)
  if (parsed.success) return parsed.data
  throw new AppError('INVALID_REQUEST', `the tenant is not valid: ${issuesText(parsed.error)}`)
}

const CREATE = statement(
  'tenants_create',
  `insert into concordat.tenants (tenant_id, max_running, allowed_agents) values ($1, $2, $3)
   on conflict do nothing returning 1`,
)
const PUT = statement(
  'tenants_put',
  `insert into concordat.tenants (tenant_id, max_running, allowed_agents) values ($1, $2, $3)
   on conflict (tenant_id) do update set max_running = excluded.max_running, allowed_agents = excluded.allowed_agents`,
)

/**
 * Creates the tenant or changes its limits; its status stays. Fails with `INVALID_REQUEST`.
 *
 * @example await putTenant(database, { tenantId: 'acme', maxRunning: 20 })
 */
export async function putTenant(tx: Tx, tenant: TenantInput): Promise<void> {
  const { tenantId, maxRunning, allowedAgents } = readTenant(tenant)
  await tx.query(PUT, [tenantId, maxRunning, allowedAgents])
}

/** Creates the tenant. Fails with `TENANT_EXISTS`, and then changes nothing, and with `INVALID_REQUEST`. */
export async function createTenant(tx: Tx, tenant: TenantInput): Promise<void> {
  const { tenantId, maxRunning, allowedAgents } = readTenant(tenant)
  const rows = await tx.query(CREATE, [tenantId, maxRunning, allowedAgents])
  if (rows.length === 0) throw new AppError('TENANT_EXISTS', `there is a tenant ${JSON.stringify(tenantId)} already`)
}

/** Who changes a tenant's status, and why. */
export interface TenantNote {
  readonly by: string
  /** As what. */
  readonly as: string
  readonly why: string
}

/** Why a tenant is suspended; `at` in ISO 8601 UTC. */
export interface Suspension extends TenantNote {
  readonly at: string
}

const SUSPEND = statement(
  'tenants_suspend',
  `update concordat.tenants set status = 'suspended', suspension = $2 where tenant_id = $1 and status = 'active' returning 1`,
)
const RESUME = statement(
  'tenants_resume',
  `update concordat.tenants set status = 'active', suspension = null where tenant_id = $1 and status = 'suspended' returning 1`,
)

/** False: it was suspended before, and stays as it was. Fails with `UNKNOWN_TENANT`. */
export async function markSuspended(tx: Tx, tenantId: string, suspension: Suspension): Promise<boolean> {
  const rows = await tx.query(SUSPEND, [tenantId, JSON.stringify(suspension)])
  if (rows.length === 0) await requireTenant(tx, tenantId)
  return rows.length > 0
}

/** False: it was active. Fails with `UNKNOWN_TENANT`. */
export async function markResumed(tx: Tx, tenantId: string): Promise<boolean> {
  const rows = await tx.query(RESUME, [tenantId])
  if (rows.length === 0) await requireTenant(tx, tenantId)
  return rows.length > 0
}

/** Fails with `UNKNOWN_TENANT` when there is none of that name. */
export async function requireTenant(tx: Tx, tenantId: string): Promise<void> {
  const rows = await tx.query('select from concordat.tenants where tenant_id = $1', [tenantId])
  if (rows.length === 0) throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
}

/** Suspended tenants that have a run in flight which is not told to stop, and no order that is about it. */
export async function halfSuspended(tx: Tx): Promise<(Suspension & { readonly tenantId: string })[]> {
  const rows = await tx.query<{ tenant_id: string; suspension: Suspension | null }>(HALF_SUSPENDED)
  const unknown = { by: 'unknown', as: 'OPERATOR', why: 'no reason given', at: '' }
  return rows.map(({ tenant_id: tenantId, suspension }) => ({ ...unknown, ...suspension, tenantId }))
}

const HALF_SUSPENDED = statement(
  'tenants_half_suspended',
  `select tenant_id, suspension from concordat.tenants t
    where status = 'suspended'
      and not exists (select from concordat.stop_orders o where o.tenant_id = t.tenant_id and o.stop->>'kind' = 'suspension')
      and (exists (select from concordat.runs r
                    where r.tenant_id = t.tenant_id and r.worker_id is not null
                      and r.stop is null and r.pending is null and r.phase = 'EXECUTING')
        or exists (select from concordat.runs r
                    where r.tenant_id = t.tenant_id and r.phase = 'EXECUTING' and r.worker_id is null
                      and r.stop is null and r.pending is null))`,
)

/** How far a tenant's runs are counted. */
export const TENANT_COUNT_MAX = 1_000

/** What a tenant has under way, each counted no further than that. */
export interface TenantLoad {
  readonly executing: number
  readonly waiting: number
  readonly queued: number
}

export interface ListedTenant extends Tenant, TenantLoad {
  readonly suspension: Suspension | null
}

const counted = (where: string) =>
  `(select count(*)::int from (select from concordat.runs r where r.tenant_id = t.tenant_id and ${where} limit ${TENANT_COUNT_MAX}) n)`

/** Up to 10,000 tenants by name, with what each has under way: counted by indexes that ended runs are not in. */
export async function listTenants(tx: Tx): Promise<ListedTenant[]> {
  return tx.query<ListedTenant>(
    `select tenant_id as "tenantId", status, max_running as "maxRunning", allowed_agents as "allowedAgents", suspension,
            ${counted('r.worker_id is not null')} as executing,
            ${counted(`r.phase = 'EXECUTING' and r.worker_id is null`)} as waiting,
            ${counted(`r.ready_at is not null and r.phase <> 'EXECUTING'`)}
              + ${counted(`r.phase in ('CREATED', 'AUTHORIZED') and r.ready_at is null`)} as queued
       from concordat.tenants t order by tenant_id limit 10000`,
  )
}
