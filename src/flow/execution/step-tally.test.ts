import { describe, expect, it } from 'vitest'
import type { StepRow } from '../kernel/kernel.ts'
import { StepTally } from './step-tally.ts'

const row = (changes: Partial<StepRow>): StepRow => {
  return { status: 'succeeded', tokensIn: null, tokensOut: null, costNanoUsd: null, ...changes } as StepRow
}

describe('the tally of a run’s steps', () => {
  it('sums what they recorded; what none recorded is absent, not zero', () => {
    const tally = new StepTally(true)
    tally.add(row({ tokensIn: 5, costNanoUsd: 7n }), null)
    tally.add(row({ status: 'failed', costNanoUsd: 2n ** 60n }), null)
    tally.add(row({ tokensIn: 0 }), null)
    expect(tally.totals).toEqual({
      steps: 3,
      failedSteps: 1,
      traceGaps: 0,
      toolCalls: 0,
      uncostedSteps: 1,
      tokensIn: 5,
      tokensOut: null,
      costNanoUsd: 2n ** 60n + 7n,
    })
  })

  it('counts tool calls, and model calls whose cost is not known', () => {
    const tally = new StepTally(true)
    tally.add(row({ kind: 'tool' }), null)
    tally.add(row({ kind: 'llm', tokensIn: 5, costNanoUsd: 7n }), null)
    expect(tally.totals).toMatchObject({ toolCalls: 1, uncostedSteps: 0 })
    tally.add(row({ kind: 'llm' }), null)
    tally.add(row({ kind: 'do', tokensOut: 1 }), null)
    tally.add(row({ kind: 'llm', tokensIn: 5, costNanoUsd: 7n }), 'disk full')
    tally.add(row({ kind: 'llm', status: 'failed' }), null)
    expect(tally.totals).toMatchObject({ toolCalls: 1, uncostedSteps: 3 })
  })

  it('counts no step before it has ended', () => {
    const tally = new StepTally(true)
    tally.add(row({ status: 'started' }), null)
    tally.add(row({ status: 'waiting' }), null)
    expect(tally.totals).toMatchObject({ steps: 0 })
  })

  it('leaves out the usage that a trace gap swallowed', () => {
    const tally = new StepTally(true)
    tally.add(row({ tokensIn: 5, tokensOut: 6, costNanoUsd: 7n }), 'disk full')
    expect(tally.totals).toMatchObject({ steps: 1, traceGaps: 1, tokensIn: null, tokensOut: null, costNanoUsd: null })
  })

  it('does not know what others recorded, or what may have been', () => {
    const resumed = new StepTally(false)
    resumed.add(row({}), null)
    expect(resumed.totals).toBeNull()
    const tally = new StepTally(true)
    tally.add(row({}), null)
    tally.lose()
    tally.add(row({}), null)
    expect(tally.totals).toBeNull()
  })
})
