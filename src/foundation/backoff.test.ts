import { describe, expect, it } from 'vitest'
import { backoffMs, sleep, withTimeout } from './backoff.ts'

const never = () => new Promise<never>(() => {})

describe('backoff', () => {
  it('doubles with each attempt up to its cap, and takes a random part of it', () => {
    const bound = (attempt: number) => backoffMs({ attempt, baseMs: 200, capMs: 1_000, random: () => 0.999_999 })
    expect([1, 2, 3, 4, 5_000].map(bound)).toEqual([199, 399, 799, 999, 999])
    expect(backoffMs({ attempt: 3, baseMs: 200, capMs: 1_000, random: () => 0 })).toBe(0)
    expect(backoffMs({ attempt: 3, baseMs: 200, capMs: 1_000, random: () => 0.5 })).toBe(400)
  })
})

describe('sleep', () => {
  it('ends at once with the reason when its signal aborts', async () => {
    const controller = new AbortController()
    const sleeping = sleep(2 ** 40, controller.signal)
    controller.abort('enough')
    await expect(sleeping).rejects.toBe('enough')
    await expect(sleep(0, controller.signal)).rejects.toBe('enough')
  })
})

describe('withTimeout', () => {
  const onTimeout = () => new Error('too slow')

  it('returns what comes in time', async () => {
    await expect(withTimeout(async () => 7, { timeoutMs: 10_000, onTimeout })).resolves.toBe(7)
  })

  it('aborts and throws when the time is up, even if the work does not listen', async () => {
    let heard: unknown
    const work = (signal: AbortSignal) => {
      signal.addEventListener('abort', () => (heard = signal.reason))
      return never()
    }
    await expect(withTimeout(work, { timeoutMs: 1, onTimeout })).rejects.toThrow('too slow')
    expect(heard).toEqual(new Error('too slow'))
  })

  it('passes on an abort from outside, and does not begin after one', async () => {
    const controller = new AbortController()
    const running = withTimeout(never, { timeoutMs: 10_000, onTimeout, signal: controller.signal })
    controller.abort(new Error('stopped'))
    await expect(running).rejects.toThrow('stopped')
    const late = withTimeout(() => expect.unreachable(), { timeoutMs: 1, onTimeout, signal: controller.signal })
    await expect(late).rejects.toThrow('stopped')
  })
})
