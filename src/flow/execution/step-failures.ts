import { AppError } from '../../foundation/app-error.ts'
import type { Interruption } from './run-control.ts'
import { failedEnd } from './run-end.ts'

/** Of a step that may have acted, when nobody lets it act again. */
export function notRepeated(key: string, { message }: AppError): AppError {
  return new AppError(
    'STEP_UNKNOWN',
    `step ${key} was started and then interrupted, and is not to run again: ${message}`,
  )
}

/** A step's error that is recorded: the one kind of failure that the agent's code gets to see. */
export class RecordedStepError extends Error {
  readonly recorded: Error

  constructor(recorded: Error) {
    super(recorded.message)
    this.recorded = recorded
  }
}

/** Anything else ends the execution here: what can't be written is not this worker's any more, the rest fails the run. */
export function interruptionBy(error: unknown): Interruption {
  const lost = error instanceof AppError && (error.code === 'LEASE_LOST' || error.kind === 'retryable')
  return lost ? { kind: 'lost' } : { kind: 'end', end: failedEnd(error, false) }
}
