import { serializeError } from '../../foundation/app-error.ts'
import { hash32 } from '../../foundation/ids.ts'
import { limits } from '../../limits.ts'
import { insertDeadMessage } from './dead-letter-store.ts'
import type { LaneGround } from './lane-ground.ts'

const LOGGED_CHARS_MAX = 200

/** Messages that are no events: each is counted, and logged and kept as a dead letter as long as they do not come in floods. */
export class MalformedMessages {
  readonly #ground: LaneGround
  #waiting: { readonly message: string; readonly cause: string }[] = []

  constructor(ground: LaneGround) {
    this.#ground = ground
  }

  /** What several reactors hear, one keeps, by the partition that it hashes to. */
  put(message: string, error: unknown, keeps: (partition: number) => boolean): void {
    if (!keeps(hash32(message) % limits.partitions)) return
    this.#ground.metrics.malformed.inc({})
    if (this.#waiting.length >= limits.malformedMessagesMax) return
    this.#ground.log.warn({ error, message: message.slice(0, LOGGED_CHARS_MAX) }, 'A message is no event')
    const cut = message.slice(0, limits.deadMessageCharsMax)
    this.#waiting.push({ message: cut, cause: JSON.stringify(serializeError(error)) })
  }

  /** Stores what has come; what can't be stored waits. */
  async store(): Promise<void> {
    const storing = [...this.#waiting]
    if (storing.length === 0) return
    const { database, group } = this.#ground
    await database.transaction((tx) =>
      Promise.all(storing.map(({ message, cause }) => insertDeadMessage(tx, group, message, cause))),
    )
    this.#waiting = this.#waiting.slice(storing.length)
  }
}
