import { describe, expect, it } from 'vitest'
import { createTicker, defineService, type Service, startAll, stopAll } from './service.ts'

function recorded(name: string, calls: string[], failing: { start?: boolean; stop?: boolean } = {}): Service {
  return defineService(name, {
    start: async () => {
      calls.push(`start ${name}`)
      if (failing.start) throw new Error(`${name} does not start`)
    },
    stop: async () => {
      calls.push(`stop ${name}`)
      if (failing.stop) throw new Error(`${name} does not stop`)
    },
  })
}

describe('a service', () => {
  it('may be started and stopped twice and at the same time', async () => {
    const calls: string[] = []
    const service = recorded('a', calls)
    await Promise.all([service.start(), service.start(), service.stop(), service.stop(), service.start()])
    expect(calls).toEqual(['start a', 'stop a', 'start a'])
    expect(service.state).toBe('RUNNING')
    await service.stop()
    expect(service.state).toBe('STOPPED')
  })

  it('says at once that it starts or stops, and in its turn what was asked for meanwhile', async () => {
    const service = recorded('a', [])
    const started = service.start()
    const stopped = service.stop()
    expect(service.state).toBe('STARTING')
    await started
    await stopped
    expect(service.state).toBe('STOPPED')
    await service.start()
    const stopping = service.stop()
    expect(service.state).toBe('STOPPING')
    await stopping
    expect(service.state).toBe('STOPPED')
  })

  it('that fails to start is stopped, and may be started again', async () => {
    const calls: string[] = []
    const failing = { start: true }
    const service = recorded('a', calls, failing)
    await expect(service.start()).rejects.toThrow('a does not start')
    expect(service.state).toBe('STOPPED')
    failing.start = false
    await service.start()
    expect(service.state).toBe('RUNNING')
  })
})

describe('several services', () => {
  it('start in order; when one fails, those before it are stopped in reverse', async () => {
    const calls: string[] = []
    const services = [recorded('a', calls), recorded('b', calls, { stop: true }), recorded('c', calls, { start: true })]
    await expect(startAll(services)).rejects.toThrow('c does not start')
    expect(calls).toEqual(['start a', 'start b', 'start c', 'stop b', 'stop a'])
  })

  it('stop in reverse, all of them, and tell what failed', async () => {
    const calls: string[] = []
    const services = [recorded('a', calls, { stop: true }), recorded('b', calls), recorded('c', calls, { stop: true })]
    await startAll(services)
    calls.length = 0
    await expect(stopAll(services)).rejects.toMatchObject({
      errors: [new Error('c does not stop'), new Error('a does not stop')],
    })
    expect(calls).toEqual(['stop c', 'stop b', 'stop a'])
  })
})

describe('a ticker', () => {
  const HOUR_MS = 3_600_000
  const fail = (error: unknown) => expect.unreachable(String(error))

  function gate() {
    const { promise, resolve } = Promise.withResolvers<void>()
    return { opened: promise, open: resolve }
  }

  it('ticks at once, on a nudge, and once more for all the nudges during a tick, never overlapping', async () => {
    const gates = [gate(), gate(), gate()]
    const begun = [gate(), gate(), gate()]
    let count = 0
    let running = 0
    const tick = async () => {
      expect(++running).toBe(1)
      const mine = count++
      begun[mine]?.open()
      await gates[mine]?.opened
      running--
    }
    const ticker = createTicker({ name: 't', intervalMs: HOUR_MS, tick, onError: fail })
    await ticker.start()
    await begun[0]?.opened
    for (let i = 0; i < 5; i++) ticker.nudge()
    gates[0]?.open()
    await begun[1]?.opened
    gates[1]?.open()
    await Promise.resolve()
    ticker.nudge()
    await begun[2]?.opened
    gates[2]?.open()
    await ticker.stop()
    expect(count).toBe(3)
  })

  it('reports what a tick throws and goes on', async () => {
    const errors: unknown[] = []
    const second = gate()
    let count = 0
    const tick = async () => {
      if (++count === 2) second.open()
      throw new Error(`tick ${count}`)
    }
    const ticker = createTicker({ name: 't', intervalMs: 1, tick, onError: (error) => errors.push(error) })
    await ticker.start()
    await second.opened
    await ticker.stop()
    expect(errors.slice(0, 2)).toEqual([new Error('tick 1'), new Error('tick 2')])
  })

  it('waits for its tick when stopped, and tells it', async () => {
    let ended = false
    const tick = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        signal.addEventListener('abort', () =>
          setImmediate(() => {
            ended = true
            resolve()
          }),
        )
      })
    const ticker = createTicker({ name: 't', intervalMs: HOUR_MS, tick, onError: fail })
    await ticker.start()
    await ticker.stop()
    expect(ended).toBe(true)
  })
})
