import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ACTIONS, type AckStatus, ackOf, type DomainAck, declareContract } from './contract.ts'
import type { Anchors } from './expectation-states.ts'
import { AuditReconciler, type ContractFacts } from './reconcile.ts'

const { reconcile } = new AuditReconciler()
const expected = declareContract({ actionMs: 5_000, runTimeoutMs: 60_000, finalizeGraceMs: 5_000 }).expectations
const now = new Date('2026-01-01T00:00:00Z')
const all = Object.values(ACTIONS).map((action) => ackOf(action, 'SUCCESS'))
const ago = (ms: number) => new Date(now.getTime() - ms)
const queued: Anchors = {
  executionStartedAt: null,
  executionEndedAt: null,
  activeSince: null,
  activeMs: 0,
  ended: false,
}
const ended: Anchors = { ...queued, executionStartedAt: ago(2_000), executionEndedAt: ago(1_000), ended: true }
const facts = (changes: Partial<ContractFacts> = {}): ContractFacts => {
  return { expected, acks: all, anchors: ended, ...changes }
}
const started = [ackOf(ACTIONS.startTrace, 'SUCCESS')]

describe('a run’s contract', () => {
  it('declares five expectations, each with a deadline, finalize_run over the whole run', () => {
    expect(expected.map(({ domain, action, deadlineMs, anchor }) => [domain, action, deadlineMs, anchor])).toEqual([
      ['logs', 'start_trace', 5_000, 'EXECUTION_START'],
      ['incidents', 'create_incident', 5_000, 'EXECUTION_END'],
      ['policies', 'evaluate_policy', 5_000, 'EXECUTION_END'],
      ['logs', 'complete_trace', 5_000, 'EXECUTION_END'],
      ['orchestrator', 'finalize_run', 65_000, 'EXECUTION_START'],
    ])
  })

  it('is COMPLETE with one SUCCESS ack for each', () => {
    expect(reconcile(facts(), now)).toEqual({ result: 'COMPLETE', findings: [] })
  })

  it('names just what is missing, however the acks are ordered and whatever history is between them', () => {
    const anyHistory = fc.array(
      fc.record({
        action: fc.constantFrom(...Object.values(ACTIONS)),
        status: fc.constantFrom<AckStatus>('FAILED', 'ROLLED_BACK'),
      }),
    )
    fc.assert(
      fc.property(fc.shuffledSubarray(all), anyHistory, fc.boolean(), (done, history, hasEnded) => {
        const acks: DomainAck[] = [
          ...history.map(({ action, status }) => ackOf(action, status, { error: 'why' })),
          ...done,
        ]
        const missing = expected.filter(
          ({ domain, action }) => !done.some((ack) => ack.domain === domain && ack.action === action),
        )
        const { result, findings } = reconcile(facts({ acks, anchors: hasEnded ? ended : queued }), now)
        expect(findings.map(({ kind, domain, action }) => [kind, domain, action])).toEqual(
          hasEnded ? missing.map(({ domain, action }) => ['missing', domain, action]) : [],
        )
        expect(result).toBe(hasEnded && missing.length > 0 ? 'INCOMPLETE' : 'COMPLETE')
      }),
    )
  })

  it('says of what is missing what was tried last', () => {
    const acks = all.filter((ack) => ack.action !== 'create_incident')
    const failed = ackOf(ACTIONS.createIncident, 'FAILED', { error: 'disk full' })
    expect(reconcile(facts({ acks }), now).findings[0]?.detail).toBe('never acknowledged')
    expect(reconcile(facts({ acks: [...acks, failed] }), now).findings[0]?.detail).toBe('only FAILED: disk full')
  })

  it('finds drift: a second SUCCESS of an action, and one that nobody expected', () => {
    const surprise = ackOf({ domain: 'incidents', action: 'delete_incident' }, 'SUCCESS')
    const { result, findings } = reconcile(
      facts({ acks: [...all, ackOf(ACTIONS.finalizeRun, 'SUCCESS'), surprise] }),
      now,
    )
    expect(result).toBe('INCOMPLETE')
    expect(findings.map(({ kind, action }) => [kind, action])).toEqual([
      ['drift', 'finalize_run'],
      ['drift', 'delete_incident'],
    ])
  })

  it.each([
    ['past it', 1, 'STALE'],
    ['just at it', 0, 'COMPLETE'],
    ['before it', -1, 'COMPLETE'],
  ])('of a run that has not ended, %s its due time', (_when, lateMs, result) => {
    const anchors = { ...queued, executionStartedAt: ago(65_000 + lateMs), activeSince: ago(65_000 + lateMs) }
    expect(reconcile(facts({ acks: started, anchors }), now).result).toBe(result)
  })

  it.each([
    ['within its deadlines', 5_000, 'COMPLETE', []],
    ['past those of its domains', 5_001, 'INCOMPLETE', ['overdue', 'overdue', 'overdue']],
    ['past that of its end too', 63_001, 'STALE', ['overdue', 'overdue', 'overdue', 'stale']],
  ])('of a parked run, %s', (_when, parkedMs, result, kinds) => {
    const anchors = {
      ...queued,
      executionStartedAt: ago(600_000),
      executionEndedAt: ago(parkedMs),
      activeMs: 2_000,
    }
    const rolledBack = ackOf(ACTIONS.createIncident, 'ROLLED_BACK', { error: 'disk full' })
    const found = reconcile(facts({ acks: [...started, rolledBack], anchors }), now)
    expect(found.result).toBe(result)
    expect(found.findings.map(({ kind }) => kind)).toEqual(kinds)
    const detail = `not acknowledged by ${ago(parkedMs - 5_000).toISOString()}`
    if (kinds.length > 0) expect(found.findings[0]).toMatchObject({ action: 'create_incident', detail })
  })

  it('of a run that waits has nothing overdue but what its start left behind', () => {
    const anchors = { ...queued, executionStartedAt: ago(600_000), activeMs: 60_000 }
    expect(reconcile(facts({ acks: started, anchors }), now)).toEqual({ result: 'COMPLETE', findings: [] })
    expect(reconcile(facts({ acks: [], anchors }), now).findings).toMatchObject([
      { kind: 'overdue', action: 'start_trace' },
    ])
  })

  it.each([[null], [undefined], ['soon'], [0], [-5], [Number.NaN], [1e300]])(
    'with a deadline of %s is invalid',
    (deadlineMs) => {
      const broken = expected.map((each, i) => (i === 2 ? { ...each, deadlineMs: deadlineMs as number } : each))
      expect(reconcile(facts({ expected: broken }), now)).toMatchObject({
        result: 'INCOMPLETE',
        findings: [{ kind: 'invalid_contract', domain: 'policies' }],
      })
    },
  )
})
