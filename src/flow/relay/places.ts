import type { ChosenRow, Place, PlacedRow } from './turn-store.ts'

/** The partitions that a relay holds. The next position of each is that of the first event that is not marked as published. */
export type Held = ReadonlyMap<number, Place>

/** The places once these rows, published in the last turn, are marked. */
export function markedPlaces(held: Held, published: readonly PlacedRow[]): Held {
  const next = new Map(held)
  for (const { partition, position, event_count } of published) {
    const place = next.get(partition)
    if (place) next.set(partition, { ...place, nextPosition: position + event_count, inFlight: [] })
  }
  return next
}

/** Gives each row the next positions of its partition, by outbox_id: that is the order of the commits of a run. */
export function placeRows(held: Held, chosen: readonly ChosenRow[]): PlacedRow[] {
  const next = new Map([...held.values()].map((place) => [place.partition, place.nextPosition]))
  return chosen
    .toSorted((a, b) => a.partition - b.partition || (a.outbox_id < b.outbox_id ? -1 : 1))
    .map((row) => {
      const position = next.get(row.partition) ?? 0
      next.set(row.partition, position + row.event_count)
      return { ...row, position }
    })
}

export interface Search {
  /** Rows that were asked for in each partition. */
  readonly rowsEach: number
  /** What the scan floor has settled before the search. */
  readonly settled: bigint
}

/** The places with these rows in flight. A search that found less than it asked for leaves nothing behind it. */
export function withRows(held: Held, rows: readonly PlacedRow[], { rowsEach, settled }: Search): Held {
  const found = Map.groupBy(rows, (row) => row.partition)
  const next = [...held.values()].map((place): Place => {
    const inFlight = (found.get(place.partition) ?? []).map((row) => row.outbox_id)
    const wasSearched = place.inFlight.length === 0
    const last = inFlight.at(-1)
    const isCut = last !== undefined && inFlight.length >= rowsEach && last < settled
    const searched = isCut ? last : settled
    return { ...place, inFlight, floor: wasSearched && searched > place.floor ? searched : place.floor }
  })
  return new Map(next.map((place) => [place.partition, place]))
}
