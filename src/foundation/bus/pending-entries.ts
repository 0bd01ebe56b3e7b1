interface Partition {
  handled: number
  readonly entries: Map<string, number>
}

/** Which entries of the streams wait to be acknowledged, by the positions of their events. */
export class PendingEntries {
  readonly #partitions = new Map<number, Partition>()

  /** False: its event is dealt with already, so that it can be acknowledged at once. */
  add(partition: number, id: string, position: number): boolean {
    const { handled, entries } = this.#of(partition)
    if (position <= handled) return false
    entries.set(id, position)
    return true
  }

  has(partition: number, id: string): boolean {
    return this.#partitions.get(partition)?.entries.has(id) ?? false
  }

  /** All events up to the position are dealt with; returns the entries that waited for that. */
  handled(partition: number, position: number): string[] {
    const found = this.#of(partition)
    if (position <= found.handled) return []
    found.handled = position
    const ids: string[] = []
    for (const [id, waits] of found.entries) {
      if (waits > position) continue
      found.entries.delete(id)
      ids.push(id)
    }
    return ids
  }

  /** Forgets other partitions: their entries are somebody else's now. */
  keep(partitions: ReadonlySet<number>): void {
    for (const partition of this.#partitions.keys()) if (!partitions.has(partition)) this.#partitions.delete(partition)
  }

  #of(partition: number): Partition {
    const found = this.#partitions.get(partition) ?? { handled: 0, entries: new Map<string, number>() }
    this.#partitions.set(partition, found)
    return found
  }
}
