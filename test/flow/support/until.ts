import { setTimeout as pause } from 'node:timers/promises'

/** Looks again after a tenth of the time that has passed: what takes long costs few looks, and is seen hardly later. */
const POLL_MS_MIN = 10
const POLL_MS_MAX = 250
const POLL_SHARE = 0.1
/** A machine that others keep busy may take ten times as long as one that is idle. */
const PATIENCE_MS = 60_000

/** Looks until it sees what it waits for, and returns that. Fails with what it saw last after a minute. */
export async function until<T>(
  look: () => T | Promise<T>,
  isIt: (seen: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const begunAt = performance.now()
  for (;;) {
    const seen = await look()
    if (isIt(seen)) return seen
    const passedMs = performance.now() - begunAt
    if (passedMs > patienceMs) throw new Error(`not seen within ${patienceMs} ms; seen last: ${JSON.stringify(seen)}`)
    await pause(Math.min(Math.max(passedMs * POLL_SHARE, POLL_MS_MIN), POLL_MS_MAX))
  }
}
