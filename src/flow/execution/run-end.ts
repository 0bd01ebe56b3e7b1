import type { PolicyViolation } from '../../domains/policies/policies.ts'
import type { RunEnd } from '../../domains/runs/runs.ts'
import { AppError, type ErrorCode, serializeError } from '../../foundation/app-error.ts'
import { type EncodedPayload, safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'

/** The end of a run whose agent returned. */
export function succeededEnd(output: EncodedPayload): RunEnd {
  return {
    outcome: 'succeeded',
    reason: 'DONE',
    message: 'its agent returned',
    error: null,
    output,
    lastStepRecorded: true,
  }
}

/** What people and rules decided, not the agent: its run is blocked, it did not fail. */
const GOVERNED: ReadonlySet<ErrorCode> = new Set(['APPROVAL_REJECTED', 'APPROVAL_EXPIRED'])

/** The end of a run that failed: with our code where the error has one, else `AGENT_FAILED`. */
export function failedEnd(error: unknown, lastStepRecorded: boolean): RunEnd {
  const serialized = serializeError(error)
  return {
    outcome: error instanceof AppError && GOVERNED.has(error.code) ? 'failed_policy' : 'failed',
    reason: error instanceof AppError ? error.code : 'AGENT_FAILED',
    message: safeText(serialized.message, limits.errorMessageCharsMax),
    error: serialized,
    output: null,
    lastStepRecorded,
  }
}

export function deadlineEnd(timeoutMs: number, lastStepRecorded: boolean): RunEnd {
  const error = new AppError('RUN_TIMEOUT', `the run executed for longer than its ${timeoutMs / 1_000} s`)
  return failedEnd(error, lastStepRecorded)
}

/** The end of a run that a policy lets go no further. */
export function refusedEnd({ type, message }: PolicyViolation): RunEnd {
  const error = { name: 'AppError', code: type, message }
  return { outcome: 'failed_policy', reason: type, message, error, output: null, lastStepRecorded: true }
}
