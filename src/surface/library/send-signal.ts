import type { SignalSchemas } from '../../domains/agents/agents.ts'
import type { RunRow } from '../../domains/runs/runs.ts'
import type { SignalState } from '../../domains/signals/signals.ts'
import type { RunOrchestrationKernel } from '../../flow/kernel/kernel.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { type PayloadCodec, safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import { pastChange } from './past-change.ts'

export interface SignalInput {
  /** Who sends it; kept with the signal. */
  readonly by?: string
  /** The sender's own id for it: sent again under the same id it counts once. */
  readonly id?: string
}

/** What became of a signal. */
export interface SentSignal {
  readonly signalId: string
  readonly runId: string
  readonly name: string
  /** `delivered`: a step was waiting for it. `kept`: for the step that will. `refused`: of an earlier sending, it did not fit. */
  readonly state: SignalState
  /** True when the id had been used for the same signal: this tells what became of that. */
  readonly deduplicated: boolean
}

export interface SignalParts {
  readonly kernel: RunOrchestrationKernel
  readonly codec: PayloadCodec
  readonly schemas: SignalSchemas
  readonly newId: IdSource
  /** Called when the run became ready to go on. */
  readonly onWoken: () => void
}

const BY_CHARS_MAX = 1_000

/** Sends a signal to a run that is known. */
export async function sendSignal(
  { kernel, codec, schemas, newId, onWoken }: SignalParts,
  { tenantId, runId }: Pick<RunRow, 'tenantId' | 'runId'>,
  name: string,
  payload: Json,
  { by = 'operator', id }: SignalInput = {},
): Promise<SentSignal> {
  const what = `payload of signal ${JSON.stringify(name)}`
  const encoded = codec.encode(payload, { bytesMax: limits.signalBytesMax, what, tooLargeCode: 'INPUT_TOO_LARGE' })
  const signalId = id === undefined ? newId() : checkText('a signal’s id', id, limits.idempotencyKeyCharsMax)
  const answer = await kernel.signal({
    tenantId,
    runId,
    signalId,
    name: checkText('a signal’s name', name, limits.stepNameCharsMax),
    payload: encoded,
    by: safeText(by, BY_CHARS_MAX),
    check: (schema) => schemas.check(name, JSON.parse(schema) as JsonObject, codec.decode(encoded.text)),
  })
  switch (answer.kind) {
    case 'ended':
      throw pastChange('takes no signals any more', { ...answer, runId })
    case 'conflict':
      throw new AppError('IDEMPOTENCY_CONFLICT', `id ${JSON.stringify(id)} was used for another signal of run ${runId}`)
    case 'sent': {
      if (answer.woken) onWoken()
      const { state, deduplicated } = answer
      return { signalId, runId, name, state, deduplicated }
    }
  }
}

function checkText(what: string, text: unknown, charsMax: number): string {
  const fits = typeof text === 'string' && text.length > 0 && text.length <= charsMax
  if (fits && text.isWellFormed() && !text.includes('\0')) return text
  throw new AppError('INVALID_REQUEST', `${what} has 1 to ${charsMax} characters, no NUL, no lone surrogate`)
}
