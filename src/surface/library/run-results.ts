import { type EndedStatus, endedAmong, type RunKey } from '../../domains/runs/runs.ts'
import type { FinishedRun } from '../../flow/kernel/kernel.ts'
import type { Logger } from '../../foundation/log.ts'
import { createTicker, type Ticker } from '../../foundation/service.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** How late the end of a run that another process executes is noticed at the most. */
const POLL_MS = 50

interface Waiter {
  readonly run: RunKey
  readonly resolve: (ended: EndedStatus) => void
}

/**
 * Tells callers how their runs ended: at once for runs that end in this process, by asking the database for the rest.
 * One query for all that wait.
 */
export class RunResults {
  readonly #database: Database
  readonly #ticker: Ticker
  readonly #waiters = new Map<string, Waiter[]>()

  constructor(database: Database, log: Logger) {
    this.#database = database
    this.#ticker = createTicker({
      name: 'run results',
      intervalMs: POLL_MS,
      tick: () => this.#look(),
      onError: (error) => log.warn({ error }, 'results of runs could not be read'),
    })
  }

  /** Resolves when the run has ended, whoever ends it. */
  async ended(run: RunKey): Promise<EndedStatus> {
    const waiting = new Promise<EndedStatus>((resolve) => {
      const waiters = this.#waiters.get(run.runId) ?? []
      this.#waiters.set(run.runId, [...waiters, { run, resolve }])
    })
    this.#ticker.start().catch(() => undefined) // it has no way to fail
    return waiting
  }

  /** A run that ended in this process: whoever waits for it is told at once. */
  closed(finished: FinishedRun): void {
    const waiters = this.#waiters.get(finished.runId)
    if (!waiters) return
    const { runId, phase, outcome: status, reason, output, error } = finished
    const ended = { runId, phase, status, reason, output: output?.text ?? null, error: error && JSON.stringify(error) }
    this.#waiters.delete(runId)
    for (const waiter of waiters) waiter.resolve(ended)
  }

  stop(): Promise<void> {
    return this.#ticker.stop()
  }

  async #look(): Promise<void> {
    const runs = [...this.#waiters.values()].flatMap(([first]) => (first ? [first.run] : []))
    if (runs.length === 0) return
    for (const ended of await endedAmong(this.#database, runs)) {
      for (const waiter of this.#waiters.get(ended.runId) ?? []) waiter.resolve(ended)
      this.#waiters.delete(ended.runId)
    }
  }
}
