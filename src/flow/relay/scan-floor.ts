/**
 * Where the search for unpublished rows may begin. Rows that were published leave dead entries in the index until
 * VACUUM, half a million a minute at full load, and a search that begins at zero reads them all, each time.
 *
 * It is no cursor, which would skip rows that commit late: the floor rises to an outbox_id only when every transaction
 * that could still commit a lower one has ended. That is known when the oldest transaction still running (`xmin`)
 * began after all that were running (`xmax`) when the id was first seen; a transaction has its id before it draws an
 * outbox_id (see appendEvents).
 */
export class ScanFloor {
  #highestSeen = 0n
  #candidate: { readonly outboxId: bigint; readonly xmax: bigint } | undefined
  #settled = 0n

  /** Every row up to this outbox_id was visible, or will never be, when the last horizon was observed. */
  get settled(): bigint {
    return this.#settled
  }

  /** Whether a further horizon could raise the floor. */
  get isBehind(): boolean {
    return this.#highestSeen > this.#settled
  }

  /** Reports a committed row. */
  saw(outboxId: bigint): void {
    if (outboxId > this.#highestSeen) this.#highestSeen = outboxId
  }

  /** Reports the transactions that run now; must be asked of the database after all rows that were reported. */
  observe(xmin: bigint, xmax: bigint): void {
    if (this.#candidate && xmin >= this.#candidate.xmax) {
      this.#settled = this.#candidate.outboxId
      this.#candidate = undefined
    }
    if (!this.#candidate && this.isBehind) this.#candidate = { outboxId: this.#highestSeen, xmax }
  }
}
