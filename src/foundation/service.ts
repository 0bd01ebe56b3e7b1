import { limits } from '../limits.ts'
import { sleep } from './backoff.ts'

export type ServiceState = 'STOPPED' | 'STARTING' | 'RUNNING' | 'STOPPING'

/**
 * The one lifecycle of every background part: `start` resolves when it is ready, `stop` when it is truly idle. Both
 * may be called twice, at the same time, and again after each other. Who calls one of an idle service sees `STARTING` or
 * `STOPPING` at once.
 */
export interface Service {
  readonly name: string
  readonly state: ServiceState
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * Makes a service of two functions, which are then called only in turn: `start` never while running, `stop` never
 * while stopped or still starting. A `start` that fails leaves the service stopped, and has to clean up after itself.
 */
export function defineService(name: string, body: { start(): Promise<void>; stop(): Promise<void> }): Service {
  let state: ServiceState = 'STOPPED'
  let lastTurn: Promise<void> = Promise.resolve()
  let turns = 0

  const inTurn = (act: () => Promise<void>): Promise<void> => {
    const take = () => act().finally(() => turns--)
    const turn = turns++ === 0 ? take() : lastTurn.then(take)
    lastTurn = turn.catch(() => {})
    return turn
  }

  return {
    name,
    get state() {
      return state
    },
    start: () =>
      inTurn(async () => {
        if (state === 'RUNNING') return
        state = 'STARTING'
        try {
          await body.start()
          state = 'RUNNING'
        } catch (error) {
          state = 'STOPPED'
          throw error
        }
      }),
    stop: () =>
      inTurn(async () => {
        if (state === 'STOPPED') return
        state = 'STOPPING'
        try {
          await body.stop()
        } finally {
          state = 'STOPPED'
        }
      }),
  }
}

/** Starts all in order. If one fails, those before it are stopped in reverse, and its error is thrown. */
export async function startAll(services: readonly Service[]): Promise<void> {
  for (const [index, service] of services.entries()) {
    try {
      await service.start()
    } catch (error) {
      await Promise.allSettled([stopAll(services.slice(0, index))]) // the first error is the one to tell
      throw error
    }
  }
}

/** Stops all in reverse, each whatever the others do; then throws what failed as one `AggregateError`. */
export async function stopAll(services: readonly Service[]): Promise<void> {
  const errors: unknown[] = []
  for (const service of services.toReversed()) {
    try {
      await service.stop()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, `${errors.length} of ${services.length} parts failed to stop`)
}

export interface TickerOptions {
  readonly name: string
  /** The longest time between the end of one tick and the start of the next. */
  readonly intervalMs: number
  /** The work. The signal aborts when the ticker is stopped, which then waits for this promise. */
  readonly tick: (signal: AbortSignal) => Promise<void>
  /** Gets what a tick throws. The loop goes on; nudges are heard again after a pause of at most a second. */
  readonly onError: (error: unknown) => void
}

/** A periodic loop. It ticks at once when started, then every interval; ticks never overlap. */
export interface Ticker extends Service {
  /** Asks for a tick now; while one runs, for another right after it. Many nudges make one tick. */
  nudge(): void
}

export function createTicker({ name, intervalMs, tick, onError }: TickerOptions): Ticker {
  let nudged = false
  let wake = () => {}
  let controller = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  const pause = () =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(intervalMs, limits.timerMsMax))
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const run = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      nudged = false
      try {
        await tick(signal)
      } catch (error) {
        onError(error)
        await sleep(Math.min(intervalMs, limits.tickerErrorPauseMs), signal).catch(() => {})
      }
      if (!nudged && !signal.aborted) await pause()
    }
  }

  const service = defineService(name, {
    start: async () => {
      controller = new AbortController()
      loop = run(controller.signal)
    },
    stop: async () => {
      controller.abort()
      wake()
      await loop
    },
  })

  const nudge = () => {
    nudged = true
    wake()
  }
  return {
    name,
    get state() {
      return service.state
    },
    start: service.start,
    stop: service.stop,
    nudge,
  }
}
