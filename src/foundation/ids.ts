import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'
import { AppError } from './app-error.ts'

export type RunId = string
/** In the place of a run's id, in events that are about no run: the nil UUID. */
export const NO_RUN: RunId = '00000000-0000-0000-0000-000000000000'
export type TenantId = string

/** Makes ids. Comes in by argument, so that tests can name the ids they get. */
export type IdSource = () => string

const RANDOM_BYTES = 16
const POOL_IDS = 256
/** Of the random bytes, four in whose place the 32 bits of the sequence go. They begin in their lower half, to count on. */
const SEQUENCE_AT = 6

/**
 * A source of UUIDv7 in lower case: sorted in the order in which it made them, so that rows of one time lie together in
 * the index, and what was submitted first comes first. Within a millisecond they count on from a random number (RFC 9562,
 * section 6.2, method 1). Randomness is drawn for 256 ids at once: a call for each took 4 % of a busy worker's CPU.
 */
export function createIdSource(): IdSource {
  const pool = Buffer.alloc(POOL_IDS * RANDOM_BYTES)
  let used = POOL_IDS
  let lastMs = 0
  let sequence = 0
  return () => {
    if (used === POOL_IDS) {
      randomFillSync(pool)
      used = 0
    }
    const start = used++ * RANDOM_BYTES
    const random = pool.subarray(start, start + RANDOM_BYTES)
    const nowMs = Date.now()
    if (nowMs > lastMs) [lastMs, sequence] = [nowMs, random.readUInt32BE(SEQUENCE_AT) >>> 1]
    else sequence++
    return v7({ random, msecs: lastMs, seq: sequence })
  }
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Whether the text is an id in the one spelling that we write: a UUIDv7 in lower case, with dashes. */
export function isId(text: string): boolean {
  return ID.test(text)
}

/** The lowest id that could have been made at this moment: ids after it are of that time or later. */
export function firstIdAt(at: Date): string {
  const hex = Math.max(0, at.getTime()).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

/**
 * The partition of a run's events, 0 to 15: the last hex digit of its id. Those bits of a UUIDv7 are random, so runs
 * spread evenly whenever they were made, and SQL can compute the same. Fails with `INVALID_INPUT` if there is no digit.
 */
export function partitionOf(runId: RunId): number {
  const partition = Number.parseInt(runId.slice(-1), 16)
  if (Number.isNaN(partition)) throw new AppError('INVALID_INPUT', `Not a run id: ${JSON.stringify(runId)}`)
  return partition
}

/** A stable 32-bit hash of a text (FNV-1a over UTF-16 units): for advisory lock keys and spreading, not for security. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
