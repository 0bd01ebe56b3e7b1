import {
  createTenant,
  type ListedTenant,
  listTenants,
  putTenant,
  type TenantInput,
} from '../../domains/tenants/tenants.ts'
import { resumeTenant, type StoppingContext, suspendTenant } from '../../flow/stopping/stopping.ts'
import { countStopped, STOP_WAIT_MS, type StopAllResult, type StopInput, suspensionNoteOf } from './stop-input.ts'

/** What a suspension did. `changed` false: the tenant was suspended before, and nothing was done. */
export interface SuspendResult extends StopAllResult {
  readonly changed: boolean
}

/**
 * Tenants, as programs use them. All but `put`, `create` and `list` fail with `UNKNOWN_TENANT`. Only `OPERATOR` may
 * suspend one and let it in again: anyone else is refused with `SUSPENSION_FORBIDDEN`.
 */
export interface TenantsApi {
  /** Creates the tenant or changes its limits; its status stays. Fails with `INVALID_REQUEST`. */
  put(tenant: TenantInput): Promise<void>
  /** Fails with `TENANT_EXISTS` and `INVALID_REQUEST`, and then changes nothing. */
  create(tenant: TenantInput): Promise<void>
  /** By name, with what each has under way. */
  list(): Promise<ListedTenant[]>
  /**
   * Ends what the tenant has in flight, executing, waiting or paused, as `failed_policy`; queued runs stay queued and new
   * ones are denied. Resolves when steps have ended, or `waitMs` later (10 s unless given).
   *
   * @example await concordat.tenants.suspend('acme', { by: 'ada', why: 'unpaid' })
   */
  suspend(tenantId: string, input?: StopInput & { readonly waitMs?: number }): Promise<SuspendResult>
  /** Lets the tenant in again: its queued runs go on, what the suspension ended stays ended. */
  resume(tenantId: string, input?: StopInput): Promise<{ readonly changed: boolean }>
}

export function createTenantsApi(stopping: StoppingContext, onResumed: () => void): TenantsApi {
  const { database } = stopping
  return {
    put: (tenant) => putTenant(database, tenant),
    create: (tenant) => createTenant(database, tenant),
    list: () => listTenants(database),
    async suspend(tenantId, { waitMs = STOP_WAIT_MS, ...note } = {}) {
      const stopped = await suspendTenant(stopping, tenantId, suspensionNoteOf(note))
      return { changed: stopped !== null, ...(await countStopped(database, stopped, waitMs)) }
    },
    async resume(tenantId, note) {
      const resumed = await resumeTenant(stopping, tenantId, suspensionNoteOf(note))
      onResumed()
      return resumed
    },
  }
}
