import { type EndedStatus, endedAmong, type RunKey } from '../../domains/runs/runs.ts'
import type { FinishedRun } from '../../flow/kernel/kernel.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Logger } from '../../foundation/log.ts'
import { createTicker, type Ticker } from '../../foundation/service.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** How late the end of a run that another process executes is noticed at the most. */
const POLL_MS = 50

interface Waiter {
  readonly run: RunKey
  readonly resolve: (ended: EndedStatus) => void
  readonly reject: (error: Error) => void
}

/**
 * Tells callers how their runs ended: at once for runs that end in this process, by asking the database for the rest.
 * One query for all that wait.
 */
export class RunResults {
  readonly #database: Database
  readonly #ticker: Ticker
  readonly #waiters = new Map<string, Waiter[]>()
  #closed = false

  constructor(database: Database, log: Logger) {
    this.#database = database
    this.#ticker = createTicker({
      name: 'run results',
      intervalMs: POLL_MS,
      tick: () => this.#look(),
      onError: (error) => log.warn({ error }, 'results of runs could not be read'),
    })
  }

  /** Resolves when the run has ended, whoever ends it. Fails with `RUNTIME_CLOSED` when nobody looks any more. */
  async ended(run: RunKey): Promise<EndedStatus> {
    if (this.#closed) throw closedBefore(run)
    const waiting = new Promise<EndedStatus>((resolve, reject) => {
      const waiters = this.#waiters.get(run.runId) ?? []
      this.#waiters.set(run.runId, [...waiters, { run, resolve, reject }])
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

  /** Looks once more, and then tells all who still wait that they wait in vain. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#ticker.stop()
    await this.#look().catch(() => undefined) // who waits is told that nobody looks any more
    for (const waiter of [...this.#waiters.values()].flat()) waiter.reject(closedBefore(waiter.run))
    this.#waiters.clear()
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

function closedBefore({ runId }: RunKey): AppError {
  const message = `the runtime was closed before the end of run ${runId} was known; the run goes on wherever a worker has it`
  return new AppError('RUNTIME_CLOSED', message, { details: { runId } })
}
