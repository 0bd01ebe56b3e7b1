import { describe, expect, it } from 'vitest'
import { outcomeOf, severityOf } from './incident-rules.ts'
import { IncidentFacade } from './incidents.ts'

const ending = {
  tenantId: 't',
  runId: 'r',
  status: 'succeeded',
  reason: 'DONE',
  message: 'm',
  traceGaps: 0,
  failedSteps: 0,
} as const

describe('the incident of a run that ended', () => {
  it.each([
    ['succeeded', 0, 0, 'SUCCESS', 'info'],
    ['succeeded', 1, 0, 'PARTIAL', 'warning'],
    ['succeeded', 0, 1, 'PARTIAL', 'warning'],
    ['cancelled', 0, 0, 'PARTIAL', 'warning'],
    ['failed', 0, 0, 'FAILURE', 'error'],
    ['failed', 3, 3, 'FAILURE', 'error'],
    ['failed_policy', 0, 0, 'BLOCKED', 'error'],
  ] as const)(
    '%s with %i trace gaps and %i failed steps is %s',
    (status, traceGaps, failedSteps, outcome, severity) => {
      expect(outcomeOf({ status, traceGaps, failedSteps })).toBe(outcome)
      expect(severityOf(outcome)).toBe(severity)
    },
  )

  it('is born closed and without a reason when all went well, else open, with both', () => {
    const made = { incidentId: 'i', at: new Date(0) }
    expect(IncidentFacade.decide(ending, made)).toMatchObject({
      outcome: 'SUCCESS',
      status: 'closed',
      reason: null,
      message: null,
    })
    const failed = { ...ending, status: 'failed', reason: 'AGENT_FAILED', message: 'a\0b' } as const
    expect(IncidentFacade.decide(failed, made)).toMatchObject({
      status: 'open',
      reason: 'AGENT_FAILED',
      message: 'a\\u0000b',
    })
  })
})
