import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../foundation/clock.ts'
import { createHeartbeat, missedBetween, type Unhealthy } from './heartbeat.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function heart(prove: () => Promise<void>) {
  const beats = { count: 0, unhealthy: [] as Unhealthy[], healthyAgain: 0 }
  const ticker = createHeartbeat({
    clock: systemClock,
    intervalMs: 1_000,
    missThreshold: 3,
    prove,
    onBeat: () => void beats.count++,
    onUnhealthy: (unhealthy) => void beats.unhealthy.push(unhealthy),
    onHealthyAgain: async () => void beats.healthyAgain++,
  })
  return { ticker, beats }
}

describe('the heartbeat of a reactor', () => {
  it('beats while nothing happens, and idle is not unhealthy', async () => {
    const { ticker, beats } = heart(async () => {})
    await ticker.start()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(beats).toEqual({ count: 61, unhealthy: [], healthyAgain: 0 })
    await ticker.stop()
  })

  it('tells once of three misses in a row, and when it works again', async () => {
    let works = true
    const { ticker, beats } = heart(async () => {
      if (!works) throw new Error('the database is away')
    })
    await ticker.start()
    works = false
    await vi.advanceTimersByTimeAsync(2_500)
    expect(beats.unhealthy).toEqual([])
    await vi.advanceTimersByTimeAsync(20_000)
    expect(beats.unhealthy).toEqual([{ misses: 3, cause: 'the database is away' }])
    works = true
    await vi.advanceTimersByTimeAsync(5_000)
    expect(beats.healthyAgain).toBe(1)
    await ticker.stop()
  })

  it('takes an answer that does not come for a miss', async () => {
    const { ticker, beats } = heart(() => new Promise(() => {}))
    await ticker.start()
    await vi.advanceTimersByTimeAsync(10_000)
    expect(beats.unhealthy).toEqual([{ misses: 3, cause: 'no answer within an interval' }])
    const stopped = ticker.stop()
    await vi.advanceTimersByTimeAsync(1_000)
    await stopped
  })

  it('counts what a blocked event loop has missed', () => {
    expect(missedBetween(0, 1_000, 1_000)).toBe(0)
    expect(missedBetween(0, 2_000, 1_000)).toBe(0)
    expect(missedBetween(0, 5_500, 1_000)).toBe(3)
  })
})
