import { moveCheckpoints } from './checkpoint-store.ts'
import type { LaneGround } from './lane-ground.ts'
import type { ReactorPartition } from './reactor-partition.ts'

/** Stores the progress of lanes that do not store it themselves: one statement for all. */
export async function flushProgress(
  { database, group }: Pick<LaneGround, 'database' | 'group'>,
  partitions: readonly ReactorPartition[],
): Promise<void> {
  const moves = partitions.flatMap(({ partition, lanes }) =>
    lanes.flatMap(({ progress, handler }) =>
      progress.unstored ? [{ progress, partition, handler: handler.name, ...progress.unstored }] : [],
    ),
  )
  if (moves.length === 0) return
  const moved = moveCheckpoints(database, group, moves).then(
    (rows) => new Set(rows.map((row) => `${row.partition} ${row.handler}`)),
  )
  for (const { progress, partition, handler, to } of moves) {
    progress.storeWith(
      to,
      moved.then((keys) => keys.has(`${partition} ${handler}`)),
    )
  }
  await moved
}
