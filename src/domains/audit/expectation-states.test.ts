import { describe, expect, it } from 'vitest'
import { ACTIONS, ackOf, declareContract } from './contract.ts'
import { type Anchors, dueAtOf, expectationStates } from './expectation-states.ts'

const expected = declareContract({ actionMs: 5_000, runTimeoutMs: 60_000, finalizeGraceMs: 5_000 }).expectations
const start = new Date('2026-01-01T00:00:00.000Z')
const later = (ms: number) => new Date(start.getTime() + ms)
const queued: Anchors = {
  executionStartedAt: null,
  executionEndedAt: null,
  activeSince: null,
  activeMs: 0,
  ended: false,
}
const executing: Anchors = { ...queued, executionStartedAt: start, activeSince: start }
const ended: Anchors = {
  ...queued,
  executionStartedAt: start,
  executionEndedAt: later(1_000),
  activeMs: 1_000,
  ended: true,
}
const parked: Anchors = { ...queued, executionStartedAt: start, executionEndedAt: later(90_000), activeMs: 20_000 }
const statesOf = (anchors: Anchors, now = start) => expectationStates(expected, [], anchors, now)
const dueOf = (anchors: Anchors) => statesOf(anchors).map(({ action, dueAt }) => [action, dueAt])

describe('expectations', () => {
  it('are not due while the run is queued', () => {
    expect(dueOf(queued).map(([, dueAt]) => dueAt)).toEqual(Array(5).fill(null))
  })

  it('count from the start of the execution, or from its end once that is known', () => {
    expect(dueOf(executing)).toEqual([
      ['start_trace', later(5_000)],
      ['create_incident', null],
      ['evaluate_policy', null],
      ['complete_trace', null],
      ['finalize_run', later(65_000)],
    ])
    expect(dueOf(ended).map(([, dueAt]) => dueAt)).toEqual([
      later(5_000),
      later(6_000),
      later(6_000),
      later(6_000),
      later(65_000),
    ])
  })

  it.each([
    ['resumed', { ...executing, activeSince: later(100_000), activeMs: 40_000 }, later(125_000)],
    ['waiting', { ...executing, activeSince: null, activeMs: 40_000 }, null],
    ['parked', parked, later(90_000 + 45_000)],
    ['ended after a long pause', { ...ended, executionEndedAt: later(900_000), activeMs: 40_000 }, later(925_000)],
  ])(
    'of finalize_run count no paused or waiting time, but the time that a run is parked: %s',
    (_state, anchors, dueAt) => {
      const finalize = { ...ACTIONS.finalizeRun, deadlineMs: 65_000, anchor: 'EXECUTION_START' } as const
      expect(dueAtOf(finalize, anchors)).toEqual(dueAt)
    },
  )

  it.each([
    ['parked, within their deadlines', parked, later(95_000), ['start_trace']],
    ['parked', parked, later(95_001), ['start_trace', 'create_incident', 'evaluate_policy', 'complete_trace']],
    ['executing', executing, later(5_000), []],
    ['executing', executing, later(5_001), ['start_trace']],
    ['ended', ended, later(100_000), []],
  ])('are overdue past their time while the run has not ended: %s', (_state, anchors, now, overdue) => {
    const late = statesOf(anchors, now).filter((state) => state.overdue)
    expect(late.map(({ action, status }) => [action, status])).toEqual(overdue.map((action) => [action, 'PENDING']))
  })

  it.each([[null], [undefined], ['soon'], [-5], [1e300]])('without a deadline, as %s, are never due', (deadlineMs) => {
    const broken = expected.map((each) => ({ ...each, deadlineMs: deadlineMs as number }))
    for (const anchors of [executing, parked, ended]) {
      const states = expectationStates(broken, [], anchors, later(100_000))
      expect(states.map(({ deadlineMs, dueAt, overdue }) => [deadlineMs, dueAt, overdue])).toEqual(
        Array(5).fill([null, null, false]),
      )
    }
  })

  it('are PENDING, ACKED, FAILED or MISSING', () => {
    const acks = [
      ackOf(ACTIONS.startTrace, 'SUCCESS'),
      ackOf(ACTIONS.createIncident, 'ROLLED_BACK'),
      ackOf(ACTIONS.createIncident, 'FAILED'),
      ackOf(ACTIONS.evaluatePolicy, 'ROLLED_BACK'),
    ]
    const statuses = (anchors: Anchors) => expectationStates(expected, acks, anchors, start).map(({ status }) => status)
    expect(statuses(executing)).toEqual(['ACKED', 'PENDING', 'PENDING', 'PENDING', 'PENDING'])
    expect(statuses(ended)).toEqual(['ACKED', 'FAILED', 'MISSING', 'MISSING', 'MISSING'])
  })
})
