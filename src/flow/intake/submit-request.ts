import { hash } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'
import type { EncodedPayload, PayloadCodec } from '../../foundation/payload-codec.ts'
import { issuesText } from '../../foundation/schema-issues.ts'
import { limits } from '../../limits.ts'

/** What a user submits. `input` is any JSON that the agent's schema accepts. */
export interface SubmitRequest {
  readonly tenant: string
  readonly agent: string
  /** Absent: the newest version that is configured. */
  readonly version?: string | undefined
  readonly input?: Json
  /** -100 to 100; higher runs first among the tenant's runs. Default 0. */
  readonly priority?: number | undefined
  /** Not before this time. */
  readonly runAt?: Date | undefined
  /** Submitting the same request under the same key again gives the same run; another request, `IDEMPOTENCY_CONFLICT`. */
  readonly idempotencyKey?: string | undefined
  /** Kept with the run for people and tools; 64 KiB at most. */
  readonly metadata?: Json
  /** The API key that it is submitted with: limits of scope `api_key` count over the runs of one, and of those that they start. */
  readonly apiKeyId?: string | undefined
}

// What text columns can't hold, or what would look like another name on a screen.
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const UNPRINTABLE = /[\u0000-\u001f\u007f]/

const name = z
  .string()
  .min(1, { error: 'must not be empty' })
  .max(limits.stepNameCharsMax)
  .refine((text) => text.isWellFormed() && !UNPRINTABLE.test(text), {
    error: 'must not hold control characters or lone surrogates',
  })

// A slash would make two subjects of the ledger look the same.
const API_KEY_ID = new RegExp(`^[\\w.:@-]{1,${limits.apiKeyIdCharsMax}}$`)
const API_KEY_ID_RULE = `has 1 to ${limits.apiKeyIdCharsMax} letters, digits or any of _ . : @ -`

const schema = z.object({
  tenant: name,
  agent: name,
  version: name.optional(),
  priority: z.int().min(-100).max(100).default(0),
  runAt: z.date().optional(),
  idempotencyKey: z
    .string()
    .min(1, { error: 'must not be empty' })
    .max(limits.idempotencyKeyCharsMax)
    .refine((text) => text.isWellFormed() && !text.includes('\0'), { error: 'must not hold NUL or lone surrogates' })
    .optional(),
  apiKeyId: z.string().regex(API_KEY_ID, { error: API_KEY_ID_RULE }).optional(),
})

export interface ReadRequest {
  readonly tenant: string
  readonly agent: string
  readonly version: string | undefined
  readonly priority: number
  readonly runAt: Date | null
  readonly idempotencyKey: string | null
  readonly input: EncodedPayload
  readonly metadata: string | null
  readonly apiKeyId: string | null
  /** Tells one request from another under the same idempotency key; null without one. */
  readonly requestDigest: string | null
}

/** Checks and encodes a request. Fails with `INVALID_REQUEST`, `INPUT_TOO_LARGE` or `NOT_SERIALIZABLE`. */
export function readRequest(request: SubmitRequest, codec: PayloadCodec): ReadRequest {
  const parsed = schema.safeParse(request)
  if (!parsed.success) {
    throw new AppError('INVALID_REQUEST', `the request is not valid: ${issuesText(parsed.error)}`)
  }
  const { tenant, agent, version, priority, runAt, idempotencyKey, apiKeyId } = parsed.data
  const input = codec.encode(request.input ?? null, {
    bytesMax: limits.runInputBytesMax,
    what: 'input',
    tooLargeCode: 'INPUT_TOO_LARGE',
  })
  const metadata =
    request.metadata === undefined
      ? null
      : codec.encode(request.metadata, {
          bytesMax: limits.metadataBytesMax,
          what: 'metadata',
          tooLargeCode: 'INPUT_TOO_LARGE',
        })
  const identity = () => [
    agent,
    version ?? null,
    input.digest,
    priority,
    runAt?.getTime() ?? null,
    metadata?.digest ?? null,
    ...(apiKeyId === undefined ? [] : [apiKeyId]),
  ]
  return {
    tenant,
    agent,
    version,
    priority,
    runAt: runAt ?? null,
    idempotencyKey: idempotencyKey ?? null,
    input,
    metadata: metadata?.text ?? null,
    apiKeyId: apiKeyId ?? null,
    requestDigest: idempotencyKey === undefined ? null : hash('sha256', JSON.stringify(identity())),
  }
}
