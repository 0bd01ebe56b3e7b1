import { AppError } from '../../foundation/app-error.ts'
import { type Database, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { type Held, markedPlaces, placeRows, withRows } from './places.ts'
import type { ScanFloor } from './scan-floor.ts'
import {
  type ChosenRow,
  chooseRows,
  findInFlight,
  markPublished,
  type PlacedRow,
  readHorizon,
  storePlaces,
  useIndexes,
} from './turn-store.ts'

export interface TurnOptions {
  readonly held: Held
  /** What was published since the last turn. */
  readonly published: readonly PlacedRow[]
  readonly rowsMax: number
  readonly floor: ScanFloor
}

export interface Turn {
  /** What to publish now, in this order. */
  readonly rows: readonly PlacedRow[]
  /** The partitions that are still held. */
  readonly held: Held
}

/**
 * One transaction: what was published is marked, and the rows to publish next get their positions. These are durable
 * before anybody sees the events, so that a relay that dies now is followed by one that publishes the same events at
 * the same positions. A partition that was lost meanwhile is left to its new holder.
 */
export function takeTurn(database: Database, options: TurnOptions): Promise<Turn> {
  const rowsEach = Math.max(1, Math.floor(options.rowsMax / options.held.size))
  return database.transaction(async (tx) => {
    const marked = markedPlaces(options.held, options.published)
    const rows = placeRows(marked, await markAndChoose(tx, options, marked, rowsEach))
    const held = withRows(marked, rows, { rowsEach, settled: options.floor.settled })
    const changed = new Set([...options.published, ...rows].map((row) => row.partition))
    if (changed.size === 0) return { rows, held }
    const stored = storePlaces(
      tx,
      [...held.values()].filter((place) => changed.has(place.partition)),
    )
    return lastFlight(
      stored.then((kept) =>
        withoutLost({ rows, held }, new Set([...changed].filter((partition) => !kept.has(partition)))),
      ),
    )
  })
}

/** All in one flight; the horizon before the rows, so that nothing below it can appear after them. */
async function markAndChoose(tx: Tx, options: TurnOptions, marked: Held, rowsEach: number): Promise<ChosenRow[]> {
  const { published, floor } = options
  const unfinished = [...marked.values()].filter((place) => place.inFlight.length > 0)
  const free = [...marked.values()].filter((place) => place.inFlight.length === 0)
  const [isMarked, , horizon, ...chosen] = await Promise.all([
    markPublished(tx, published),
    useIndexes(tx),
    readHorizon(tx, floor.asksBeyond),
    chooseRows(tx, new Map(free.map((place) => [place.partition, place.floor])), rowsEach),
    ...unfinished.map((place) => findInFlight(tx, place)),
  ])
  if (!isMarked) throw new AppError('DATABASE_ERROR', 'Outbox rows were moved or changed while they were published')
  floor.observe(horizon)
  return chosen.flat()
}

function withoutLost({ rows, held }: Turn, lost: ReadonlySet<number>): Turn {
  if (lost.size === 0) return { rows, held }
  return {
    rows: rows.filter((row) => !lost.has(row.partition)),
    held: new Map([...held].filter(([partition]) => !lost.has(partition))),
  }
}
