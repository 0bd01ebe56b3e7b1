import { describe, expect, it } from 'vitest'
import { ACTIONS, declareContract } from '../../domains/audit/audit.ts'
import { checkGovernance } from './governance-check.ts'

const expected = declareContract({ actionMs: 5_000, runTimeoutMs: 60_000, finalizeGraceMs: 5_000 }).expectations
const decided = [ACTIONS.createIncident, ACTIONS.evaluatePolicy, ACTIONS.completeTrace, ACTIONS.finalizeRun]
const unmet = (...args: Parameters<typeof checkGovernance>): unknown => {
  try {
    checkGovernance(...args)
    return null
  } catch (error) {
    return error
  }
}

describe('the governance check', () => {
  it('passes when each expectation is met by a stored ack or by one that is decided', () => {
    expect(unmet(expected, ['logs/start_trace'], decided)).toBeNull()
    expect(unmet(expected, [], [...decided, ACTIONS.startTrace])).toBeNull()
  })

  it('refuses with CONTRACT_UNMET, naming all that is met by neither', () => {
    expect(unmet(expected, [], decided.slice(1))).toMatchObject({
      code: 'CONTRACT_UNMET',
      details: { unmet: ['logs/start_trace is met by no domain', 'incidents/create_incident is met by no domain'] },
    })
  })

  it.each([[null], [0], [-1]])('refuses an expectation with a deadline of %s, though it is met', (deadlineMs) => {
    const broken = expected.map((each, i) => (i === 0 ? { ...each, deadlineMs } : each))
    expect(unmet(broken, ['logs/start_trace'], decided)).toMatchObject({
      code: 'CONTRACT_UNMET',
      details: { unmet: ['logs/start_trace has no deadline'] },
    })
  })
})
