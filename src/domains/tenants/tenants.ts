import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
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
  const parsed = input.safeParse(tenant)
  if (!parsed.success)
    throw new AppError('INVALID_REQUEST', `the tenant is not valid: ${z.prettifyError(parsed.error)}`)
  const { tenantId, maxRunning, allowedAgents } = parsed.data
  await tx.query(PUT, [tenantId, maxRunning, allowedAgents])
}

/** Suspends or resumes a tenant. New runs of a suspended one are denied, with their footprint; queued ones wait. */
export async function setTenantStatus(tx: Tx, tenantId: string, status: Tenant['status']): Promise<void> {
  const rows = await tx.query('update concordat.tenants set status = $2 where tenant_id = $1 returning tenant_id', [
    tenantId,
    status,
  ])
  if (rows.length === 0) throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
}

export async function listTenants(tx: Tx): Promise<Tenant[]> {
  return tx.query<Tenant>(
    `select tenant_id as "tenantId", status, max_running as "maxRunning", allowed_agents as "allowedAgents"
       from concordat.tenants order by tenant_id limit 10000`,
  )
}
