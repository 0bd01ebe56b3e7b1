import type { RunRow } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'

/** `RUN_ENDED` for what a run takes no more: it has ended, or its end is known and about to be written. */
export function pastChange(
  what: string,
  { runId, status, phase }: Pick<RunRow, 'runId' | 'status' | 'phase'>,
): AppError {
  const details = { runId, status, phase }
  if (phase !== 'FINALIZING') {
    return new AppError('RUN_ENDED', `run ${runId} ${what}: it is ${status} (${phase})`, { details })
  }
  return new AppError('RUN_ENDED', `run ${runId} ${what}: it is being finalised (${phase})`, {
    hint: 'It ends by itself once no domain refuses it any more; `concordat runs finalize` tries at once.',
    details,
  })
}
