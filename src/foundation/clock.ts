import { limits } from '../limits.ts'

/** Tells the time. Comes in by argument. */
export interface Clock {
  now(): Date
  nowMs(): number
}

/** The machine's own clock. */
export const systemClock: Clock = Object.freeze({ now: () => new Date(), nowMs: () => Date.now() })

export interface DatabaseClockOptions {
  /** What is told until the first correction, and what the skew is measured against. */
  readonly base?: Clock
  /** A time source that no one can set, in ms; it carries the time between corrections. */
  readonly monotonicMs?: () => number
  /** Called at a correction that finds the base clock more than 500 ms off; positive: the database is ahead. */
  readonly onSkew?: (skewMs: number) => void
}

/**
 * The database's time without asking the database: corrected at each heartbeat, carried on by a monotonic source in
 * between, so that a machine whose clock is set or wrong still agrees with all others on leases and deadlines. From
 * the first correction on it never goes backwards; where a correction would turn it back, it stands still until the
 * database has caught up.
 */
export class DatabaseClock implements Clock {
  readonly #base: Clock
  readonly #monotonicMs: () => number
  readonly #onSkew: (skewMs: number) => void
  #anchor: { readonly databaseMs: number; readonly monotonicMs: number } | undefined
  #lastMs = 0

  constructor(options: DatabaseClockOptions = {}) {
    this.#base = options.base ?? systemClock
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now())
    this.#onSkew = options.onSkew ?? (() => {})
  }

  nowMs(): number {
    if (!this.#anchor) return this.#base.nowMs()
    const elapsedMs = this.#monotonicMs() - this.#anchor.monotonicMs
    this.#lastMs = Math.max(this.#lastMs, Math.floor(this.#anchor.databaseMs + elapsedMs))
    return this.#lastMs
  }

  now(): Date {
    return new Date(this.nowMs())
  }

  /**
   * Takes over the time that the database told in an answer which took `roundTripMs` to come; call it at once when the
   * answer is there. Answers slower than a second are ignored, except the first: a poor time beats none.
   */
  correct(databaseNowMs: number, roundTripMs: number): void {
    if (this.#anchor && roundTripMs > limits.clockRoundTripMsMax) return
    const databaseMs = databaseNowMs + roundTripMs / 2
    this.#anchor = { databaseMs, monotonicMs: this.#monotonicMs() }
    const skewMs = Math.round(databaseMs - this.#base.nowMs())
    if (Math.abs(skewMs) > limits.clockSkewWarnMs) this.#onSkew(skewMs)
  }
}

/** A clock for tests: stands still until it is moved. */
export class FakeClock implements Clock {
  #nowMs: number

  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  now(): Date {
    return new Date(this.#nowMs)
  }

  /** Moves the time by so many ms. */
  advance(ms: number): void {
    this.#nowMs += ms
  }
}
