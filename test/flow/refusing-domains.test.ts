import { beforeAll, expect, it } from 'vitest'
import { type Logger, silentLogger } from '../../src/foundation/log.ts'
import { TransactionFailed } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { blocked, endTogether, gates, together } from './support/batch.ts'
import { describeOnDatabases } from './support/databases.ts'
import { editContract } from './support/edit-contract.ts'
import {
  endingOf,
  eventCounts,
  eventsOfEnded,
  FIVE_ACKS,
  ownEvents,
  successAcks,
  WALK_TO_COMPLETED,
  walked,
} from './support/footprint.ts'
import { createRefusals } from './support/refusals.ts'
import { until } from './support/until.ts'

describeOnDatabases('a domain that refuses', (open) => {
  let runtime: TestRuntime
  const failures: { runId: unknown; error: unknown }[] = []
  beforeAll(async () => {
    const log: Logger = { ...silentLogger, error: ({ runId, error }) => void failures.push({ runId, error }) }
    runtime = await open({ agents: [together], log })
    await createRefusals(runtime.database)
  })

  it.concurrent.each([
    ['incidents', 'NOT_STARTED', 'incidents', ['incidents/create_incident']],
    ['policy_evaluations', 'INCIDENT_CREATED', 'policies', ['policies/evaluate_policy', 'incidents/create_incident']],
    [
      'traces',
      'POLICY_EVALUATED',
      'logs',
      ['logs/complete_trace', 'policies/evaluate_policy', 'incidents/create_incident'],
    ],
    ...(['audit_acks', 'outbox', 'runs'] as const).map((table) => {
      const undone = [
        'orchestrator/finalize_run',
        'logs/complete_trace',
        'policies/evaluate_policy',
        'incidents/create_incident',
      ]
      return [table, 'TRACE_COMPLETED', 'orchestrator', undone] as const
    }),
  ] as const)(
    '%s: its runs stop at %s, blocked by %s; the others of the batch commit; it heals by itself',
    async (table, phase, domain, undone) => {
      const { refused, accepted, heal } = await endTogether(runtime, table)
      for (const run of await Promise.all(accepted.map((handle) => runtime.ended(handle)))) {
        expect(endingOf(run)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS', trace: 'COMPLETE' })
        expect(successAcks(run)).toEqual(FIVE_ACKS)
      }
      const parked = await Promise.all(refused.map((handle) => blocked(runtime, handle)))
      for (const run of parked) {
        expect(run).toMatchObject({
          status: 'running',
          phase: 'FINALIZING',
          workerId: null,
          endedAt: null,
          incident: null,
          evaluation: null,
        })
        expect(run.pending).toMatchObject({
          blockedBy: domain,
          phaseReached: phase,
          error: expect.stringContaining('refuses run'),
        })
        expect(run.trace?.ending).toBeNull()
        expect(successAcks(run)).toEqual(['logs/start_trace'])
        const rolledBack = run.acks.filter(({ status }) => status === 'ROLLED_BACK')
        expect(rolledBack.slice(0, undone.length).map(({ domain, action }) => `${domain}/${action}`)).toEqual(undone)
        expect(rolledBack.every(({ error }) => error?.includes('refuses run'))).toBe(true)
        expect(run.acks).toHaveLength(1 + rolledBack.length)
        expect(ownEvents(run).map(({ type }) => type)).toEqual(['run.created', 'run.started', 'trace.started'])
        expect(run.alerts).toMatchObject([{ type: 'RECONCILIATION_FAILED', severity: 'critical', state: 'firing' }])
        const failure = failures.find(({ runId }) => runId === run.runId)?.error
        expect(failure).toBeInstanceOf(TransactionFailed)
        expect(failure).toMatchObject({ runId: run.runId, phase, refusedBy: domain })
      }
      await heal()
      for (const run of await Promise.all(refused.map((handle) => runtime.ended(handle)))) {
        expect(endingOf(run)).toMatchObject({
          status: 'succeeded',
          phase: 'COMPLETED',
          incident: 'SUCCESS',
          trace: 'COMPLETE',
        })
        expect(successAcks(run)).toEqual(FIVE_ACKS)
        expect(walked(run)).toEqual(WALK_TO_COMPLETED)
        expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
        expect(run.acks.filter(({ status }) => status === 'ROLLED_BACK').length).toBeGreaterThan(0)
        expect((await runtime.concordat.audit.reconcile('default', run.runId)).result).toBe('COMPLETE')
        const resolved = await until(
          () => runtime.runs.get('default', run.runId),
          ({ alerts }) => alerts[0]?.state === 'resolved',
        )
        expect(resolved.alerts).toMatchObject([{ type: 'RECONCILIATION_FAILED', state: 'resolved' }])
      }
    },
  )

  it('is asked again at once by runs finalize, which says what refuses while it still does', async () => {
    const { refused, heal } = await endTogether(runtime, 'incidents')
    const [run] = await Promise.all(refused.map((handle) => blocked(runtime, handle)))
    const still = await runtime.runs.finalize('default', run?.runId ?? '')
    expect(still).toMatchObject({ kind: 'blocked', failure: { phase: 'NOT_STARTED', refusedBy: 'incidents' } })
    await heal()
    const done = await runtime.runs.finalize('default', run?.runId ?? '')
    expect(done).toMatchObject({
      kind: 'ended',
      status: 'succeeded',
      result: { phase: 'COMMITTED', runId: run?.runId },
    })
    if (done.kind !== 'ended') throw new Error('unreachable')
    expect(done.result.domains.map(({ domain, action, success }) => [domain, action, success])).toEqual([
      ['incidents', 'create_incident', true],
      ['policies', 'evaluate_policy', true],
      ['logs', 'complete_trace', true],
      ['orchestrator', 'finalize_run', true],
    ])
    expect(await done.result.published()).toMatchObject({ phase: 'EVENTS_PUBLISHED', eventsPublished: true })
    await expect(runtime.runs.finalize('default', run?.runId ?? '')).rejects.toMatchObject({ code: 'RUN_ENDED' })
  })

  it('is found by its audit once its deadlines are past: overdue, then stale', async () => {
    const { concordat, database } = runtime
    const { refused, heal } = await endTogether(runtime, 'incidents')
    const [run] = await Promise.all(refused.map((handle) => blocked(runtime, handle)))
    const runId = run?.runId ?? ''
    const inTime = await concordat.audit.reconcile('default', runId)
    expect(inTime).toMatchObject({ result: 'COMPLETE', findings: [] })
    const parkFor = (interval: string) =>
      database.query(
        'update concordat.runs set execution_ended_at = clock_timestamp() - $2::interval where run_id = $1',
        [runId, interval],
      )
    const overdue = ['create_incident', 'evaluate_policy', 'complete_trace'].map((action) => ({
      kind: 'overdue',
      action,
    }))
    await parkFor('30 s')
    const late = await concordat.audit.reconcile('default', runId)
    expect(late).toMatchObject({ result: 'INCOMPLETE', findings: overdue })
    const { expectations, reconciliation } = await concordat.audit.get('default', runId)
    expect(expectations.filter((each) => each.overdue).map(({ action }) => ({ kind: 'overdue', action }))).toEqual(
      overdue,
    )
    expect(reconciliation?.result).toBe('INCOMPLETE')
    await parkFor('1 day')
    const stale = await concordat.audit.reconcile('default', runId)
    expect(stale).toMatchObject({ result: 'STALE', findings: [...overdue, { kind: 'stale', action: 'finalize_run' }] })
    const { events } = await runtime.runs.get('default', runId)
    const types = [
      'audit.reconciliation.failed',
      'audit.expectation.timeout',
      'audit.expectation.timeout',
      'audit.reconciliation.stale',
    ]
    expect(events.map(({ type }) => type).filter((type) => type.startsWith('audit.'))).toEqual(types)
    await heal()
    await Promise.all(refused.map((handle) => runtime.ended(handle)))
  })

  it('counts its rollbacks by the phase that was reached', async () => {
    const text = await runtime.concordat.metrics.text()
    for (const phase of ['NOT_STARTED', 'INCIDENT_CREATED', 'POLICY_EVALUATED', 'TRACE_COMPLETED']) {
      expect(text).toMatch(new RegExp(`concordat_completion_rollbacks_total\\{phase="${phase}"\\} [1-9]`))
    }
  })

  it('only when it commits, as a deferred constraint does, blocks its run like any other', async () => {
    await runtime.database.query(
      `create constraint trigger refuse_late after insert on concordat.incidents deferrable initially deferred
         for each row execute function refuse()`,
    )
    await runtime.database.query('alter table concordat.incidents disable trigger refuse_incidents')
    const { refused, accepted, heal } = await endTogether(runtime, 'incidents')
    await Promise.all(accepted.map((handle) => runtime.ended(handle)))
    for (const run of await Promise.all(refused.map((handle) => blocked(runtime, handle)))) {
      expect(run.pending).toMatchObject({ blockedBy: 'orchestrator', phaseReached: 'TRACE_COMPLETED' })
      expect([run.incident, run.evaluation, run.trace?.ending]).toEqual([null, null, null])
    }
    await heal()
    for (const run of await Promise.all(refused.map((handle) => runtime.ended(handle))))
      expect(successAcks(run)).toEqual(FIVE_ACKS)
  })
})

describeOnDatabases('a contract that is not met', (open) => {
  it.each([
    ['atomic', {}],
    ['legacy', { governanceProfile: undefined, racRollbackAuditEnabled: false }],
  ])('keeps the run in GOVERNANCE_CHECK on the %s path, until it is met', async (_path, config) => {
    const runtime = await open({ agents: [together], config })
    const gate = crypto.randomUUID()
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'together', input: gate })
    await gates.at(handle.runId).reached
    const setDeadline = (deadline: string) =>
      runtime.database.query(editContract(`'{1,deadlineMs}', $2::jsonb`), [handle.runId, deadline])
    await setDeadline('null')
    gates.at(gate).open()
    const parked = await blocked(runtime, handle)
    expect(parked).toMatchObject({ status: 'running', phase: 'GOVERNANCE_CHECK', incident: null, evaluation: null })
    const error = expect.stringContaining('incidents/create_incident has no deadline')
    expect(parked.pending).toMatchObject({ blockedBy: 'audit', phaseReached: 'NOT_STARTED', error })
    const { result, findings } = await runtime.concordat.audit.reconcile('default', handle.runId)
    expect([result, findings[0]?.kind]).toEqual(['INCOMPLETE', 'invalid_contract'])
    await setDeadline('5000')
    const run = await runtime.ended(handle)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(walked(run)).toEqual(WALK_TO_COMPLETED)
    expect(run.acks).toHaveLength(5) // nothing was ever done that had to be undone
  })
})
