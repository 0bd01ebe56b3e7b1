import { type RunKey, stopsOf } from '../../domains/runs/runs.ts'
import { sleep } from '../../foundation/backoff.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** How stops went of runs that were executing. */
export interface StopCounts {
  /** Whose worker has heard it. */
  readonly delivered: number
  /** Whose steps have ended upon it. */
  readonly confirmed: number
  /** That are over, and a step ignored its signal: what it returns is not recorded. */
  readonly unconfirmed: number
}

const POLL_MS = 50
/** Of runs that are asked for at once. */
const LOOK_MAX = 1_000

/** Looks how the stops of these runs go until all are over, `patienceMs` at the most. */
export async function untilStopped(
  database: Database,
  runs: readonly RunKey[],
  patienceMs: number,
): Promise<StopCounts> {
  const giveUpAt = performance.now() + patienceMs
  const settled = { delivered: 0, confirmed: 0, unconfirmed: 0 }
  let open = runs
  for (;;) {
    const still: RunKey[] = []
    let deliveredOnly = 0
    for (let from = 0; from < open.length; from += LOOK_MAX) {
      const looked = open.slice(from, from + LOOK_MAX)
      const stops = new Map((await stopsOf(database, looked)).map((row) => [row.runId, row]))
      for (const run of looked) {
        const row = stops.get(run.runId)
        if (row?.ended) {
          settled.delivered += row.stop.deliveredAt ? 1 : 0
          settled.confirmed += row.stop.confirmedAt ? 1 : 0
          settled.unconfirmed += row.stop.confirmedAt === null ? 1 : 0
        } else {
          still.push(run)
          deliveredOnly += row?.stop.deliveredAt ? 1 : 0
        }
      }
    }
    if (still.length === 0 || performance.now() > giveUpAt) {
      return { ...settled, delivered: settled.delivered + deliveredOnly }
    }
    open = still
    await sleep(POLL_MS)
  }
}
