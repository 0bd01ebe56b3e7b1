import { hash } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { inexactInteger, type Json, type JsonObject, stringifyJson } from '../../foundation/json.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { RawLine } from './read-lines.ts'

const NAME_CHARS_MAX = 1_000
const TOKENS_MAX = 1_000_000_000 // no single step has more
const LATENCY_MS_MAX = 31_536_000_000 // a year
const METADATA_TEXT_CHARS_MAX = 1_000
const METADATA_SPARE_BYTES = 1_024
const REASON_CHARS_MAX = 500

const count = z.int().min(0).max(TOKENS_MAX).nullish()

const stepSchema = z.looseObject({
  kind: z.enum(['llm', 'tool', 'user']),
  name: z.string().min(1),
  input: z.custom<Json>().optional(),
  output: z.custom<Json>().optional(),
  error: z.string().nullish(),
  tokens_in: count,
  tokens_out: count,
  cost_usd: z.number().min(0).max(limits.usdMax).nullish(),
  latency_ms: z.number().min(0).max(LATENCY_MS_MAX).nullish(),
})

/** What of a recorded trajectory is replayed. Fields that are not named here are kept, whatever they hold. */
export const replayInputSchema = z.object({
  source: z.string().min(1).max(NAME_CHARS_MAX),
  id: z.string().min(1).max(NAME_CHARS_MAX),
  steps: z.array(stepSchema).max(limits.stepsPerRunMax),
  outcome: z.looseObject({
    status: z.enum(['succeeded', 'failed']),
    error: z.string().nullish(),
    termination_reason: z.string().nullish(),
  }),
})

export type RecordedTrajectory = z.output<typeof replayInputSchema>
export type TrajectoryStep = RecordedTrajectory['steps'][number]

/** A line of a trajectory file as the run that replays it. */
export interface Trajectory {
  readonly input: JsonObject
  readonly metadata: JsonObject
  /** The same for the same source and id, so that a second replay adds nothing. */
  readonly idempotencyKey: string
}

export interface MalformedLine {
  /** `MALFORMED_TRAJECTORY`, with file and line in its message. */
  readonly malformed: AppError
}

/** Returns the trajectory of a line as it was read. Never throws. */
export function readTrajectory(line: RawLine, file: string): Trajectory | MalformedLine {
  if ('text' in line) return parseTrajectory(line.text, file, line.lineNumber)
  return { malformed: malformed(file, line.lineNumber, line.unreadable) }
}

/**
 * Returns the trajectory of a line of JSON, or what is wrong with it: not JSON, a field that is missing or of the wrong
 * kind, counts and amounts that can't be (negative, fractions of a token, over a billion), a number that can't
 * be kept (an integer beyond 53 bits too), nesting over 2,000 levels, more than the runs and steps of this product may hold. Never throws. Of duplicate
 * keys the last one counts, as everywhere in JavaScript. Lone surrogates and NUL are data like any other.
 */
export function parseTrajectory(line: string, file: string, lineNumber: number): Trajectory | MalformedLine {
  try {
    const fields = objectOf(JSON.parse(line))
    const parsed = replayInputSchema.safeParse(fields)
    if (!parsed.success) return { malformed: malformed(file, lineNumber, reasonOf(parsed.error)) }
    const { source, id } = parsed.data
    // As they were read, not as parsed: nothing may be added, dropped or put into another order.
    const input = { source, id, steps: fields.steps as Json, outcome: fields.outcome as Json }
    checkSizes(input, parsed.data.steps)
    const inexact = inexactInteger(line)
    if (inexact !== null) throw new Error(`the number ${inexact.slice(0, 40)} can not be kept exactly`)
    const idempotencyKey = `replay:${hash('sha256', JSON.stringify([source, id]))}`
    return { input, metadata: metadataOf(fields), idempotencyKey }
  } catch (error) {
    return { malformed: malformed(file, lineNumber, error instanceof Error ? error.message : String(error), error) }
  }
}

function objectOf(value: Json): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw new Error('the line is not a JSON object')
}

function reasonOf({ issues }: z.ZodError): string {
  const shown = issues.slice(0, 3).map(({ path, message }) => `${path.join('.') || 'the line'}: ${message}`)
  return shown.join('; ') + (issues.length > shown.length ? `; and ${issues.length - shown.length} more` : '')
}

/** Fails where the run would fail that replays it: better told by line than found in a run that looks like the agent's. */
function checkSizes(input: JsonObject, steps: readonly TrajectoryStep[]): void {
  const { runInputBytesMax, stepOutputBytesMax } = limits
  const what = 'trajectory'
  const { sizeBytes } = stringifyJson(input, { bytesMax: runInputBytesMax, what, tooLargeCode: 'INPUT_TOO_LARGE' })
  if (sizeBytes <= stepOutputBytesMax) return
  for (const [index, { output }] of steps.entries()) {
    const what = `output of steps.${index}`
    stringifyJson(output, { bytesMax: stepOutputBytesMax, what, tooLargeCode: 'OUTPUT_TOO_LARGE' })
  }
}

/**
 * Everything but the steps, with long texts cut. What would make it larger than a run's metadata may be is left out and
 * counted.
 */
function metadataOf({ steps: _steps, source, id, ...others }: JsonObject): JsonObject {
  const kept: [string, Json][] = []
  let sizeBytes = METADATA_SPARE_BYTES
  let omitted = 0
  for (const [key, value] of Object.entries({ source, id, ...others } as JsonObject)) {
    const short = typeof value === 'string' ? cut(value) : value
    sizeBytes += Buffer.byteLength(JSON.stringify([key, short]))
    if (sizeBytes <= limits.metadataBytesMax) kept.push([key, short])
    else omitted++
  }
  if (omitted > 0) kept.push(['omitted', omitted])
  return Object.fromEntries(kept)
}

function cut(text: string): string {
  return text.length <= METADATA_TEXT_CHARS_MAX ? text : `${text.slice(0, METADATA_TEXT_CHARS_MAX - 1)}…`
}

function malformed(file: string, lineNumber: number, reason: string, cause?: unknown): AppError {
  return new AppError('MALFORMED_TRAJECTORY', `${file}:${lineNumber}: ${safeText(reason, REASON_CHARS_MAX)}`, {
    ...(cause !== undefined && { cause }),
    details: { file, line: lineNumber },
  })
}
