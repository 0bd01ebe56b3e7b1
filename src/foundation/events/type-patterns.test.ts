import { describe, expect, it } from 'vitest'
import { meansNothing, typeMatcher } from './type-patterns.ts'

describe('a type of events, or several', () => {
  it.each([
    ['run.failed', 'run.failed', true],
    ['run.failed', 'run.failed.again', false],
    ['audit.*', 'audit.reconciliation.drift', true],
    ['audit.*', 'auditor.x', false],
    ['*', 'anything', true],
  ])('%s means %s: %s', (pattern, type, means) => {
    expect(typeMatcher(pattern)(type)).toBe(means)
  })

  it.each([
    ['run.complted', 'no event has the type "run.complted": did you mean run.completed?'],
    ['runs.*', 'no event has the type "runs.*": did you mean run.*?'],
    ['Run.Failed', 'no event has the type "Run.Failed": did you mean run.failed?'],
    ['audit.reconcilation.missing', expect.stringMatching(/did you mean audit\.reconciliation\.missing\?$/)],
    ['order.paid.in.full.today', 'no event has the type "order.paid.in.full.today"'],
    ['run.completed', null],
    ['audit.reconciliation.*', null],
    ['*', null],
  ])('%s: %s', (pattern, told) => {
    expect(meansNothing(pattern)).toEqual(told)
  })
})
