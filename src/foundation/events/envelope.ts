import { isUtf8 } from 'node:buffer'
import { limits } from '../../limits.ts'
import { AppError } from '../app-error.ts'
import { partitionOf } from '../ids.ts'
import type { Json } from '../json.ts'

/** Messages of other versions may be larger than ours, never without a bound. */
const EVENT_BYTES_MAX = 1_048_576
/** In UTF-8, a UTF-16 unit takes so many at the most. */
const UNIT_BYTES_MAX = 3
const SPEC_VERSION = '1.0'
const SOURCE = '/concordat'
/** The JSON of an event of ours begins with these. */
export const ATTRIBUTES = `{"specversion":"${SPEC_VERSION}","source":"${SOURCE}",`

const NAME_CHARS_MAX = 1_024
const NAMES = ['id', 'source', 'type', 'subject', 'tenantid'] as const
const DECIMAL = /^[1-9]\d{0,15}$/
const RUN_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/
/** A time as we write it, with its numbers in their ranges. */
const OUR_TIME = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{3}Z$/

/** What an event says, without the attributes that are the same for all. */
export interface EventFields {
  readonly id: string
  readonly type: string
  /** When it happened, RFC 3339. */
  readonly time: string
  readonly runId: string
  readonly tenantId: string
  readonly partition: number
  /** Place within the partition, from 1, without gaps; the same in every delivery of the event. */
  readonly position: number
  readonly data: Json
}

/** One event as it travels: CloudEvents 1.0, its subject the run. Read-only: subscribers share it. */
export class EventEnvelope implements EventFields {
  readonly specversion = SPEC_VERSION
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time: string
  readonly runId: string
  readonly tenantId: string
  readonly partition: number
  readonly position: number
  readonly data: Json

  constructor(fields: EventFields, source: string = SOURCE) {
    this.id = fields.id
    this.source = source
    this.type = fields.type
    this.time = fields.time
    this.runId = fields.runId
    this.tenantId = fields.tenantId
    this.partition = fields.partition
    this.position = fields.position
    this.data = fields.data
  }

  get envelope(): this {
    return this
  }

  /** The CloudEvents JSON. */
  get text(): string {
    return JSON.stringify(this)
  }

  /** The run id under its CloudEvents name. */
  get subject(): string {
    return this.runId
  }

  /**
   * Reads a message of at most 1 MiB. Fails with `INVALID_INPUT` when it is no CloudEvents 1.0 JSON with the
   * attributes that ours have, or nests deeper than 2,000 levels, and with `INPUT_TOO_LARGE`.
   */
  static parse(received: string | Uint8Array): EventEnvelope {
    const message = parseBounded(decode(received))
    checkMessage(message)
    const { id, source, type, time, subject: runId, tenantid: tenantId, partition, data = null } = message
    const position = Number(message.position)
    return new EventEnvelope({ id, type, time, runId, tenantId, partition, position, data }, source)
  }

  /** The CloudEvents JSON of the event. Its position is a text: an Integer of CloudEvents has 32 bits. */
  toJSON(): { readonly [attribute: string]: Json } {
    const { specversion, id, source, type, time, runId, tenantId, partition, data } = this
    const position = String(this.position)
    return { specversion, id, source, type, time, subject: runId, tenantid: tenantId, partition, position, data }
  }
}

/** CloudEvents 1.0 in JSON with our extensions; further attributes are legal and ignored. */
interface Message extends Record<(typeof NAMES)[number], string> {
  readonly specversion: typeof SPEC_VERSION
  readonly time: string
  readonly partition: number
  readonly position: string | number
  readonly data?: Json
}

/** By hand: every subscriber pays for it with each event, and a schema took twice as long as reading the JSON. */
function checkMessage(value: unknown): asserts value is Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('it is not an object')
  const message = value as { readonly [attribute: string]: unknown }
  if (message.specversion !== SPEC_VERSION) throw malformed(`specversion is not ${SPEC_VERSION}`)
  const { id, source, type, subject, tenantid } = message
  // One by one: a loop over the names takes four times as long.
  if (!(isName(id) && isName(source) && isName(type) && isName(subject) && isName(tenantid))) {
    const attribute = NAMES.find((name) => !isName(message[name]))
    throw malformed(`${attribute} is not a text of 1 to ${NAME_CHARS_MAX} characters`)
  }
  const { time, partition, position } = message
  if (!isTime(time)) throw malformed('time is not a time of RFC 3339')
  if (!isIntegerFrom(0, partition) || partition >= limits.partitions) {
    throw malformed(`partition is not 0 to ${limits.partitions - 1}`)
  }
  // As a number it came from versions that wrote it so.
  if (!isIntegerFrom(1, typeof position === 'string' && DECIMAL.test(position) ? Number(position) : position)) {
    throw malformed('position is not an integer from 1')
  }
  if (!RUN_ID.test(subject)) throw malformed('subject is not the id of a run')
  if (partitionOf(subject) !== partition) throw malformed('partition is not that of the run')
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= NAME_CHARS_MAX
}

/** Our own without asking for the date, which took as long as half of all checks. */
function isTime(value: unknown): value is string {
  if (typeof value !== 'string') return false
  return OUR_TIME.test(value) || (RFC_3339.test(value) && !Number.isNaN(Date.parse(value)))
}

function isIntegerFrom(min: number, value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min
}

function decode(received: string | Uint8Array): string {
  if (typeof received === 'string' && received.length * UNIT_BYTES_MAX <= EVENT_BYTES_MAX) return received
  const sizeBytes = typeof received === 'string' ? Buffer.byteLength(received) : received.byteLength
  if (sizeBytes > EVENT_BYTES_MAX) {
    throw new AppError('INPUT_TOO_LARGE', `The event has ${sizeBytes} bytes; at most ${EVENT_BYTES_MAX} are allowed`)
  }
  if (typeof received === 'string') return received
  if (!isUtf8(received)) throw malformed('it is not UTF-8')
  return Buffer.from(received.buffer, received.byteOffset, received.byteLength).toString()
}

function parseBounded(text: string): unknown {
  if (nestsTooDeep(text)) throw malformed(`it nests deeper than ${limits.jsonDepthMax} levels`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('it is not JSON', cause)
  }
}

/** Whoever handles an event may recurse into its data, as JSON.stringify does. */
export function nestsTooDeep(text: string): boolean {
  if (text.length <= 2 * limits.jsonDepthMax) return false // each level costs two characters
  let depth = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (quoted) {
      if (char === '\\') i++
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === '[' || char === '{') {
      if (++depth > limits.jsonDepthMax) return true
    } else if (char === ']' || char === '}') depth--
  }
  return false
}

function malformed(why: string, cause?: unknown): AppError {
  return new AppError('INVALID_INPUT', `The message is not an event: ${why}`, {
    hint: 'Only Concordat publishes here; look for a foreign publisher or another version.',
    ...(cause !== undefined && { cause }),
  })
}
