import { findRun, type RunRow } from '../../domains/runs/runs.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { findLostRun } from '../../flow/reconciliation/reconciliation.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import type { Concordat } from '../../runtime.ts'
import type { CommandContext } from './session.ts'

/**
 * The run that the command's argument names; of any tenant unless one is given. Fails with `RUN_NOT_FOUND`, and with
 * `UNKNOWN_TENANT`.
 */
export function namedRun(concordat: Concordat, { args, options }: CommandContext): Promise<RunRow> {
  return runNamed(concordat, args[0] ?? '', options.tenant)
}

/** The same of one of several arguments. */
export async function runNamed({ database }: Concordat, name: string, tenant: string | undefined): Promise<RunRow> {
  const id = name.toLowerCase()
  const run = isId(id) ? await findRun(database, tenant ?? null, id) : null
  if (run) return run
  if (isId(id) && (await findLostRun(database, tenant ?? null, id))) {
    const hint = `What is still known of it: concordat audit get ${id}`
    throw new AppError('RUN_NOT_FOUND', `the run ${id} is gone: somebody has deleted its row`, { hint })
  }
  if (tenant !== undefined) await requireTenant(database, tenant)
  const whose = tenant === undefined ? '' : ` of tenant ${JSON.stringify(tenant)}`
  throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(name)}${whose}`)
}

/** Fails with `UNKNOWN_TENANT` when the command names a tenant that is not there. */
export async function requireNamedTenant({ database }: Concordat, { options }: CommandContext): Promise<void> {
  if (options.tenant !== undefined) await requireTenant(database, options.tenant)
}
