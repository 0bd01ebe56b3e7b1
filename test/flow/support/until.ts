import { setTimeout as pause } from 'node:timers/promises'

const POLL_MS = 20
/** A machine that others keep busy may take ten times as long as one that is idle. */
const PATIENCE_MS = 60_000

/** Looks until it sees what it waits for, and returns that. Fails with what it saw last after a minute. */
export async function until<T>(
  look: () => T | Promise<T>,
  isIt: (seen: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    const seen = await look()
    if (isIt(seen)) return seen
    if (performance.now() > giveUpAt)
      throw new Error(`not seen within ${patienceMs} ms; seen last: ${JSON.stringify(seen)}`)
    await pause(POLL_MS)
  }
}
