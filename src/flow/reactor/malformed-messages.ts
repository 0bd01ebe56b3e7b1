import { serializeError } from '../../foundation/app-error.ts'
import { hash32 } from '../../foundation/ids.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import { type DeadMessage, insertDeadMessages } from './dead-letter-store.ts'
import type { LaneGround } from './lane-ground.ts'

const LOGGED_CHARS_MAX = 200

/** Messages that are no events: each is counted, logged and kept as a dead letter, as long as there is room for what waits. */
export class MalformedMessages {
  readonly #ground: LaneGround
  readonly #waiting: DeadMessage[] = []
  #waitingChars = 0

  constructor(ground: LaneGround) {
    this.#ground = ground
  }

  /** What several reactors hear, one keeps, by the partition that it hashes to. */
  put(message: string, error: unknown, keeps: (partition: number) => boolean): void {
    if (!keeps(hash32(message) % limits.partitions)) return
    this.#ground.metrics.malformed.inc({})
    if (this.#waitingChars >= limits.malformedWaitingCharsMax) return
    this.#ground.log.warn({ error, message: message.slice(0, LOGGED_CHARS_MAX) }, 'A message is no event')
    const dead = {
      envelope: safeText(message.slice(0, limits.deadMessageCharsMax), limits.deadMessageCharsMax),
      cause: JSON.stringify(serializeError(error)),
    }
    this.#waiting.push(dead)
    this.#waitingChars += charsOf(dead)
  }

  /** Stores what has come; what can't be stored waits. */
  async store(): Promise<void> {
    const { database, group } = this.#ground
    while (this.#waiting.length > 0) {
      const storing = this.#waiting.slice(0, limits.malformedBatchMax)
      await insertDeadMessages(database, group, storing)
      for (const dead of this.#waiting.splice(0, storing.length)) this.#waitingChars -= charsOf(dead)
    }
  }
}

function charsOf({ envelope, cause }: DeadMessage): number {
  return envelope.length + cause.length
}
