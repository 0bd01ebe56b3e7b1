import { withTimeout } from '../../foundation/backoff.ts'
import type { Clock } from '../../foundation/clock.ts'
import { createTicker, type Ticker } from '../../foundation/service.ts'

export interface Unhealthy {
  /** Heartbeats that were missed in a row. */
  readonly misses: number
  /** What was wrong with the last one. */
  readonly cause: string
}

export interface HeartbeatOptions {
  readonly clock: Clock
  readonly intervalMs: number
  readonly missThreshold: number
  /** Proves that the loop runs and the connections work; rejects with what is wrong. */
  readonly prove: () => Promise<void>
  readonly onBeat: () => void
  /** Called once, after so many misses. */
  readonly onUnhealthy: (unhealthy: Unhealthy) => void
  /** Called at each beat after that, until it works again and this has resolved. */
  readonly onHealthyAgain: () => Promise<void>
}

/**
 * The pulse of a reactor: idle or busy, it beats as long as the loop and its connections work. Beats that a blocked
 * event loop did not get to are missed ones too.
 */
export function createHeartbeat(options: HeartbeatOptions): Ticker {
  const { clock, intervalMs, missThreshold, prove, onBeat, onUnhealthy, onHealthyAgain } = options
  let lastMs = clock.nowMs()
  let misses = 0
  let isUnhealthy = false

  const miss = (count: number, cause: string) => {
    misses += count
    if (misses < missThreshold || isUnhealthy) return
    isUnhealthy = true
    onUnhealthy({ misses, cause })
  }

  const beat = async () => {
    const blocked = missedBetween(lastMs, clock.nowMs(), intervalMs)
    lastMs = clock.nowMs()
    if (blocked > 0) miss(blocked, `the event loop stood still for ${blocked} heartbeats`)
    try {
      await withTimeout(prove, { timeoutMs: intervalMs, onTimeout: () => new Error('no answer within an interval') })
    } catch (error) {
      return miss(1, error instanceof Error ? error.message : String(error))
    }
    onBeat()
    misses = 0
    if (!isUnhealthy) return
    await onHealthyAgain()
    isUnhealthy = false
  }

  return createTicker({ name: 'heartbeat', intervalMs, tick: beat, onError: () => {} })
}

/** Heartbeats that should have come between two that came; a beat may itself take up to an interval. */
export function missedBetween(lastMs: number, nowMs: number, intervalMs: number): number {
  return Math.max(0, Math.floor((nowMs - lastMs) / intervalMs) - 2)
}
