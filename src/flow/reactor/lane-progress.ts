import { type Database, type Tx, transactionWhenUsed } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { moveCheckpoint } from './checkpoint-store.ts'

export interface LaneProgressOptions {
  readonly database: Database
  readonly group: string
  readonly handler: string
  readonly partition: number
  /** The last event that is dealt with, as its checkpoint says. */
  readonly position: number
  /** Somebody else moves the checkpoint. */
  readonly onLost: () => void
}

/** How far a lane is, and what is stored of that. Transactions on the lane's rows come one after the other. */
export class LaneProgress {
  /** The last event that is dealt with. */
  cursor: number
  readonly #options: LaneProgressOptions
  #stored: number
  #storing: Promise<unknown> | undefined

  constructor(options: LaneProgressOptions) {
    this.#options = options
    this.cursor = options.position
    this.#stored = options.position
  }

  get stored(): number {
    return this.#stored
  }

  /** How far what is stored is behind; undefined while something is being stored. */
  get unstored(): { readonly from: number; readonly to: number } | undefined {
    if (this.#storing || this.cursor === this.#stored) return undefined
    return { from: this.#stored, to: this.cursor }
  }

  /** Resolves when nothing is being stored. */
  async settled(): Promise<void> {
    while (this.#storing) await this.#storing.catch(() => {})
  }

  /** Lets somebody else store this move, during which the lane stores nothing. */
  storeWith(to: number, storing: Promise<boolean>): void {
    this.#storing = storing.then(
      (isStored) => {
        this.#storing = undefined
        if (isStored) this.#stored = to
        else this.#options.onLost()
      },
      () => {
        this.#storing = undefined
      },
    )
  }

  /** Writes and moves the checkpoint, both or neither. When nothing is written, the checkpoint is moved by and by. */
  async store(to: number, write: (tx: Tx) => Promise<void>): Promise<void> {
    const { database, group, handler, partition } = this.#options
    await this.exclusively(async () => {
      const move = { handler, partition, from: this.#stored, to }
      const last = (tx: Tx) => moveCheckpoint(tx, group, move)
      // For one event: where several send nothing for longer, the transaction fails, and they are handled one by one.
      const idleMsMax = limits.eventHandlerTimeoutMs
      if (await transactionWhenUsed(database, { write, last, idleMsMax })) this.#stored = to
      this.cursor = to
    })
  }

  /** Does what writes rows of the lane while nothing else does. */
  async exclusively(work: () => Promise<void>): Promise<void> {
    await this.settled()
    const storing = work()
    this.#storing = storing
    try {
      await storing
    } finally {
      this.#storing = undefined
    }
  }
}
