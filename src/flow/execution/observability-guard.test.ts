import { afterEach, describe, expect, it, vi } from 'vitest'
import { silentLogger } from '../../foundation/log.ts'
import { noMetrics } from '../../foundation/metrics.ts'
import { limits } from '../../limits.ts'
import type { RecordStep } from '../kernel/kernel.ts'
import { ObservabilityGuard } from './observability-guard.ts'

const step = { lease: { runId: 'run' }, step: { key: 'a#1', traceGap: null }, stored: false } as unknown as RecordStep
const FAILURES = limits.breakerFailures * 3

/** Takes checkpoints only. */
async function withoutTraces({ step: { traceGap } }: RecordStep): Promise<void> {
  if (traceGap === null) throw new Error('no room for traces')
}

// A rejection that nobody handles ends a process; the test runner fails for it.
describe('the observability guard, when more traces fail at once than open its breaker', () => {
  it('records every step with its gap', async () => {
    const guard = new ObservabilityGuard({
      mode: 'DEGRADED',
      record: withoutTraces,
      log: silentLogger,
      metrics: noMetrics,
    })
    const gaps = await Promise.all(Array.from({ length: FAILURES }, () => guard.record(step)))
    expect(gaps).toEqual(gaps.map(() => 'no room for traces'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(guard.mayTrace()).toBe(false)
  })

  it('counts failures that it is told of while the breaker is open', async () => {
    const guard = new ObservabilityGuard({
      mode: 'DEGRADED',
      record: withoutTraces,
      log: silentLogger,
      metrics: noMetrics,
    })
    for (let i = 0; i < FAILURES; i++) {
      guard.traceFailed(new Error('no trace could be started'), 'run')
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(guard.mayTrace()).toBe(false)
  })
})

describe('an open breaker', () => {
  afterEach(() => void vi.useRealTimers())

  it('lets a trace be tried after its time: a failure opens it for as long again, a success closes it', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    let traces = false
    const record = async (step: RecordStep) => {
      if (!traces) await withoutTraces(step)
    }
    const guard = new ObservabilityGuard({ mode: 'DEGRADED', record, log: silentLogger, metrics: noMetrics })
    for (let i = 0; i < limits.breakerFailures; i++) await guard.record(step)
    expect(guard.mayTrace()).toBe(false)
    expect(await guard.record(step)).toBe('the trace store is failing, not tried')

    vi.advanceTimersByTime(limits.breakerOpenMs)
    expect(guard.mayTrace()).toBe(true)
    expect(await guard.record(step)).toBe('no room for traces')
    expect(guard.mayTrace()).toBe(false)
    traces = true
    expect(await guard.record(step)).toBe('the trace store is failing, not tried')

    vi.advanceTimersByTime(limits.breakerOpenMs)
    expect(await Promise.all([guard.record(step), guard.record(step)])).toEqual([null, null])
    expect(guard.mayTrace()).toBe(true)
  })
})
