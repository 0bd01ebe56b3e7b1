import { findRun, type RunRow } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import type { Concordat } from '../../runtime.ts'
import type { CommandContext } from './session.ts'

/** The run that the command's argument names; of any tenant unless one is given. Fails with `RUN_NOT_FOUND`. */
export async function namedRun({ database }: Concordat, { args, options }: CommandContext): Promise<RunRow> {
  const id = (args[0] ?? '').toLowerCase()
  const run = isId(id) ? await findRun(database, options.tenant ?? null, id) : null
  if (run) return run
  const whose = options.tenant === undefined ? '' : ` of tenant ${JSON.stringify(options.tenant)}`
  throw new AppError('RUN_NOT_FOUND', `there is no run ${JSON.stringify(args[0])}${whose}`)
}
