import { describe, expect, it } from 'vitest'
import { DatabaseClock, FakeClock } from './clock.ts'

function setup(baseStartMs: number) {
  const base = new FakeClock(baseStartMs)
  const skews: number[] = []
  let monotonicMs = 50
  const clock = new DatabaseClock({ base, monotonicMs: () => monotonicMs, onSkew: (ms) => skews.push(ms) })
  const pass = (ms: number) => {
    base.advance(ms)
    monotonicMs += ms
  }
  return { base, clock, skews, pass }
}

describe('the database clock', () => {
  it('tells the base time until it is corrected, then the database time, half a round trip later', () => {
    const { clock, pass } = setup(10_000)
    expect(clock.nowMs()).toBe(10_000)
    clock.correct(20_000, 40)
    expect(clock.nowMs()).toBe(20_020)
    pass(100)
    expect(clock.now()).toEqual(new Date(20_120))
  })

  it('follows the database back at the first correction: a clock that ran ahead must not stand still for hours', () => {
    const { clock } = setup(3_600_000)
    clock.nowMs()
    clock.correct(1_000, 0)
    expect(clock.nowMs()).toBe(1_000)
  })

  it('never goes backwards after that', () => {
    const { clock, pass } = setup(0)
    clock.correct(5_000, 0)
    pass(1_000)
    expect(clock.nowMs()).toBe(6_000)
    clock.correct(5_900, 0)
    expect(clock.nowMs()).toBe(6_000)
    pass(150)
    expect(clock.nowMs()).toBe(6_050)
  })

  it('does not notice when the machine clock is set', () => {
    const { base, clock, pass } = setup(1_000)
    clock.correct(1_000, 0)
    base.advance(-500_000)
    pass(10)
    expect(clock.nowMs()).toBe(1_010)
  })

  it('reports a skew over 500 ms', () => {
    const { clock, skews } = setup(1_000)
    clock.correct(1_400, 200)
    expect(skews).toEqual([])
    clock.correct(400, 0)
    expect(skews).toEqual([-600])
  })

  it('ignores answers that took over a second, but not if it has none yet', () => {
    const { clock } = setup(0)
    clock.correct(10_000, 4_000)
    expect(clock.nowMs()).toBe(12_000)
    clock.correct(90_000, 1_001)
    expect(clock.nowMs()).toBe(12_000)
  })
})
