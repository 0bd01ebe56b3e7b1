import { AsyncLocalStorage } from 'node:async_hooks'
import type { Logger } from '../../foundation/log.ts'
import type { RunControl } from './run-control.ts'
import { failedEnd } from './run-end.ts'

/**
 * Knows in which run's code this process is. What an agent throws where nobody can catch it, in a timer or a promise
 * that it does not await, would end the process and with it every other run's worker: it ends that run instead.
 */
export class RunScope {
  readonly #running = new AsyncLocalStorage<RunControl>()
  readonly #log: Logger

  constructor(log: Logger) {
    this.#log = log
  }

  /** Does the work, and all that it sets going, as the run's. */
  within<T>(control: RunControl, work: () => T): T {
    return this.#running.run(control, work)
  }

  /**
   * Ends the run in whose code the error was thrown. Called by handlers of `uncaughtException` and `unhandledRejection`,
   * which Node calls as part of the code that threw. False: it was no run's.
   */
  blame(error: unknown): boolean {
    const control = this.#running.getStore()
    if (control === undefined) return false
    const { tenantId, runId, agent } = control.claim
    this.#log.error({ error, tenantId, runId, agent }, 'an agent threw where nobody could catch it')
    control.interrupt({ kind: 'end', end: failedEnd(error, false) })
    return true
  }
}
