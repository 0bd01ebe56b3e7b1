import { beforeAll, expect, it } from 'vitest'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { blocked, endTogether, gates, together } from './support/batch.ts'
import { describeOnDatabases } from './support/databases.ts'
import {
  endingOf,
  eventCounts,
  eventsOfEnded,
  FIVE_ACKS,
  successAcks,
  WALK_TO_COMPLETED,
  walked,
} from './support/footprint.ts'
import { createRefusals } from './support/refusals.ts'

describeOnDatabases('a completion of which the legacy path has written a part before it died', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [together] })
  })

  it.each([[['incidents']], [['incidents', 'policies']], [['incidents', 'policies', 'logs']]])(
    'is finished by the atomic path, which writes only the rest: without %j',
    async (parts) => {
      const gate = crypto.randomUUID()
      const handle = await runtime.runs.submit({ tenant: 'default', agent: 'together', input: gate })
      await gates.at(handle.runId).reached
      for (const part of parts) {
        for (const sql of LEGACY_PARTS[part] ?? []) await runtime.database.query(sql, [handle.runId])
      }
      gates.at(gate).open()
      const run = await runtime.ended(handle)
      expect(endingOf(run)).toMatchObject({
        status: 'succeeded',
        incident: 'SUCCESS',
        trace: 'COMPLETE',
        event: 'run.completed',
      })
      expect(successAcks(run)).toEqual(FIVE_ACKS)
      const wroteBefore = { incidents: 'incident.created', policies: 'policy.evaluated', logs: 'trace.completed' }
      const told = parts.map((part) => wroteBefore[part as keyof typeof wroteBefore])
      expect(Object.keys(eventCounts(run)).filter((type) => told.includes(type))).toEqual([])
      expect((await runtime.concordat.audit.reconcile('default', run.runId)).result).toBe('COMPLETE')
    },
  )
})

const ack = (
  domain: string,
  action: string,
) => `insert into concordat.audit_acks (tenant_id, run_id, domain, action, attempt, status, acked_at)
  values ('default', $1, '${domain}', '${action}', 1, 'SUCCESS', now())`

/** What each part of the legacy path leaves, but for its event. */
const LEGACY_PARTS: Record<string, string[]> = {
  incidents: [
    `insert into concordat.incidents (tenant_id, run_id, incident_id, outcome, status, severity, created_at)
     values ('default', $1, gen_random_uuid(), 'SUCCESS', 'closed', 'info', now())`,
    ack('incidents', 'create_incident'),
  ],
  policies: [
    `insert into concordat.policy_evaluations (tenant_id, run_id, evaluation_id, outcome, policies, violations, evaluated_at)
     values ('default', $1, gen_random_uuid(), 'NOT_APPLICABLE', '[]', '[]', now())`,
    ack('policies', 'evaluate_policy'),
  ],
  logs: [
    `update concordat.traces set ending = 'COMPLETE', ended_at = now(), step_count = 1, gap_count = 0 where run_id = $1`,
    ack('logs', 'complete_trace'),
  ],
}

describeOnDatabases('a domain that refuses, with the fallback to the legacy path', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    const config = {
      governanceProfile: undefined,
      transactionCoordinatorEnabled: true,
      transactionFallbackToLegacy: true,
    }
    runtime = await open({ agents: [together], config })
    await createRefusals(runtime.database)
  })

  const reconcile = ({ runId }: { runId: string }) => runtime.concordat.audit.reconcile('default', runId)

  it.concurrent.each([
    ['incidents', 'incidents', 'create_incident'],
    ['policy_evaluations', 'policies', 'evaluate_policy'],
    ['traces', 'logs', 'complete_trace'],
  ] as const)(
    '%s: the run ends without it, and the reconciliation names what is missing',
    async (table, domain, action) => {
      const { refused, accepted } = await endTogether(runtime, table)
      for (const run of await Promise.all(accepted.map((handle) => runtime.ended(handle)))) {
        expect(successAcks(run)).toEqual(FIVE_ACKS)
      }
      for (const run of await Promise.all(refused.map((handle) => runtime.ended(handle)))) {
        expect([run.status, run.phase]).toEqual(['succeeded', 'COMPLETED'])
        const left = { incidents: run.incident, policy_evaluations: run.evaluation, traces: run.trace?.ending ?? null }
        expect(Object.keys(left).filter((each) => left[each as keyof typeof left] === null)).toEqual([table])
        expect(successAcks(run)).toEqual(FIVE_ACKS.filter((ack) => ack !== `${domain}/${action}`))
        const { result, findings } = await reconcile(run)
        expect(result).toBe('INCOMPLETE')
        expect(findings).toMatchObject([
          { kind: 'missing', domain, action, detail: expect.stringContaining('refuses run') },
        ])
        expect(run.transitions.at(-1)?.why).toBe(`ended without ${domain}, which refused`)
        const { events, reconciliation } = await runtime.runs.get('default', run.runId)
        expect(reconciliation?.result).toBe('INCOMPLETE')
        expect(events.slice(-2).map(({ type }) => type)).toEqual(['audit.reconciliation.missing', 'alert.raised'])
      }
    },
  )

  it.concurrent.each([['audit_acks'], ['outbox'], ['runs']] as const)(
    '%s: the run itself can’t end, waits, and ends when it can',
    async (table) => {
      const { refused, heal } = await endTogether(runtime, table)
      for (const run of await Promise.all(refused.map((handle) => blocked(runtime, handle)))) {
        expect([run.status, run.phase]).toEqual(['running', 'FINALIZING'])
        expect(run.incident?.outcome).toBe('SUCCESS')
      }
      await heal()
      for (const run of await Promise.all(refused.map((handle) => runtime.ended(handle)))) {
        expect(endingOf(run)).toMatchObject({
          status: 'succeeded',
          incident: 'SUCCESS',
          trace: 'COMPLETE',
          event: 'run.completed',
        })
        expect(successAcks(run)).toEqual(FIVE_ACKS)
        expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
        expect((await reconcile(run)).result).toBe('COMPLETE')
      }
    },
  )
})

describeOnDatabases('the legacy path, with the coordinator off', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [together], config: { governanceProfile: undefined } })
    await createRefusals(runtime.database)
  })

  it('leaves the whole footprint when all domains agree, and what it can when one refuses', async () => {
    const { refused, accepted } = await endTogether(runtime, 'policy_evaluations')
    for (const run of await Promise.all(accepted.map((handle) => runtime.ended(handle)))) {
      expect(endingOf(run)).toMatchObject({
        status: 'succeeded',
        incident: 'SUCCESS',
        trace: 'COMPLETE',
        event: 'run.completed',
      })
      expect(successAcks(run)).toEqual(FIVE_ACKS)
      expect(walked(run)).toEqual(WALK_TO_COMPLETED)
      expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
    }
    for (const run of await Promise.all(refused.map((handle) => runtime.ended(handle)))) {
      expect(run.acks.filter(({ status }) => status !== 'SUCCESS')).toMatchObject([
        { status: 'FAILED', domain: 'policies', action: 'evaluate_policy' },
      ])
      expect((await runtime.concordat.audit.reconcile('default', run.runId)).findings).toHaveLength(1)
    }
    expect(await runtime.concordat.metrics.text()).toContain(
      'concordat_completion_domain_errors_total{domain="policies"} 2',
    )
  })
})
