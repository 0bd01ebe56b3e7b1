import { AppError } from '../../foundation/app-error.ts'
import type { Concordat } from '../../runtime.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { duration } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

export const runsFinalize = defineCommand({
  usage: 'finalize <run>',
  description: 'try now to complete a run that a domain has refused',
  run: async (context) => {
    const { terminal, options } = context
    const finalize = async (concordat: Concordat): Promise<ExitCode> => {
      const { runId, tenantId } = await namedRun(concordat, context)
      const outcome = await concordat.runs.finalize(tenantId, runId)
      if (outcome.kind === 'blocked') {
        const { failure, retryInMs } = outcome
        throw new AppError('TRANSACTION_FAILED', failure.message, {
          hint: `It is tried again in ${duration(retryInMs)}; \`concordat runs get ${runId}\` shows what is in the way.`,
          details: { runId, phase: failure.phase, refusedBy: failure.refusedBy },
        })
      }
      if (outcome.kind !== 'ended') {
        throw new AppError('RUN_ENDED', `somebody else is completing run ${runId} at this moment`, {
          details: { runId },
        })
      }
      if (options.json) terminal.out(toJson({ runId, tenantId, status: outcome.status }))
      else terminal.out(`Run ${runId} is finalised: ${outcome.status}.`)
      return 0
    }
    return withSession(context, finalize, { logLevel: 'silent' }) // a refusal is the command's own answer
  },
})
