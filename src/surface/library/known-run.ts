import { findRun, type RunRow } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import type { Tx } from '../../foundation/storage/storage.ts'

/** The run, of any tenant when `tenantId` is null. Fails with `RUN_NOT_FOUND`. */
export async function knownRun(tx: Tx, tenantId: string | null, runId: string): Promise<RunRow> {
  const run = isId(runId) ? await findRun(tx, tenantId, runId) : null
  if (!run) throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(runId)}`)
  return run
}
