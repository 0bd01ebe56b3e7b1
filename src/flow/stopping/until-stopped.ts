import { type StopCounts, stopCounts } from '../../domains/runs/runs.ts'
import { sleep } from '../../foundation/backoff.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { Stopped } from './stop-runs.ts'

const POLL_MS = 50

/** Looks how the stops of an order go until all its runs are over, `patienceMs` at the most. */
export async function untilStopped(database: Database, stopped: Stopped, patienceMs: number): Promise<StopCounts> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    const counts = await stopCounts(database, stopped)
    if (counts.open === 0 || performance.now() > giveUpAt) return counts
    await sleep(POLL_MS)
  }
}
