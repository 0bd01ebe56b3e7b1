import type { Statement } from '../../foundation/storage/storage.ts'
import type { HeartbeatReply } from '../kernel/kernel.ts'

/*
 * What a worker and the thread of its heartbeat say to each other. A file of its own, so that the thread loads nothing
 * else of the runtime and is up at once.
 */

/** What the main thread shares with the heartbeat's, as milliseconds since the epoch. */
export const SHARED = { loopAliveAt: 0, earliestDeadlineAt: 1 } as const
export const NO_DEADLINE = Number.MAX_SAFE_INTEGER

export interface ThreadData {
  readonly databaseUrl: string
  readonly statement: Statement
  readonly workerId: string
  readonly intervalMs: number
  readonly graceMs: number
  readonly shared: SharedArrayBuffer
}

export type ThreadMessage =
  | { readonly kind: 'up' }
  | {
      readonly kind: 'reply'
      readonly reply: HeartbeatReply | null
      readonly roundTripMs: number
      /** By `wallMs` of the thread. */
      readonly receivedAtMs: number
    }
  | { readonly kind: 'error'; readonly message: string }

/** A time that threads of one process share and that no one can set, in milliseconds. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now()
}
