/** What the database says at one moment. */
export interface Horizon {
  /** The highest outbox_id that has been drawn. */
  readonly drawn: bigint
  /** The oldest transaction that runs. */
  readonly xmin: bigint
  /** An id that a transaction got after `drawn` was read; null when none was asked for. */
  readonly xid: bigint | null
}

/** Higher than any outbox_id. */
const NEVER = 2n ** 63n - 1n

/**
 * Where the search for unpublished rows may begin: no index tells them from the published ones, of which there are half a
 * million a minute at full load, since one that did would make a mark many times as dear.
 *
 * It is no cursor, which would skip rows that commit late: the floor rises to an outbox_id only when every transaction
 * that could still commit a lower one has ended. A transaction has its id before it draws an outbox_id (see
 * appendEvents), so these all have ids below one that is given out once the outbox_id is known to be drawn, and have
 * ended when the oldest that runs is not below it. (A snapshot's own upper bound does not serve: transactions beyond it
 * may be running too.)
 */
export class ScanFloor {
  #candidate: { readonly drawn: bigint; readonly xid: bigint } | undefined
  #settled = 0n

  /** Every row up to this outbox_id was visible, or will never be, when the last horizon was observed. */
  get settled(): bigint {
    return this.#settled
  }

  /** A horizon needs a transaction id if more than this is drawn. */
  get asksBeyond(): bigint {
    return this.#candidate ? NEVER : this.#settled
  }

  observe({ drawn, xmin, xid }: Horizon): void {
    if (this.#candidate && xmin >= this.#candidate.xid) {
      this.#settled = this.#candidate.drawn
      this.#candidate = undefined
    } else if (!this.#candidate && xid !== null) {
      this.#candidate = { drawn, xid }
    }
  }
}
