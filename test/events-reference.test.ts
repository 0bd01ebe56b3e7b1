import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventsOfRun, eventTypes, type StoredEvent } from '../src/foundation/events/events.ts'
import { NO_RUN } from '../src/foundation/ids.ts'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { editContract } from './flow/support/edit-contract.ts'
import { until } from './flow/support/until.ts'
import { sharedSnapshot } from './support/embedded.ts'

const agents = [
  defineAgent({ name: 'works', version: '1', run: () => 'done' }),
  defineAgent({ name: 'sleeps', version: '1', run: ({ step }) => step.sleep('long', 86_400_000) }),
  defineAgent({
    name: 'asks',
    version: '1',
    run: ({ step, input }) => step.approval('ask', { timeout: Number(input) }),
  }),
  defineAgent({ name: 'steps', version: '1', run: ({ step }) => step.do('half', () => null) }),
  defineAgent({ name: 'fails', version: '1', run: () => Promise.reject(new Error('no')) }),
]
const tenant = 'default'

let runtime: TestRuntime
let published: StoredEvent[]
beforeAll(async () => {
  runtime = await createTestRuntime({ agents, snapshot: await sharedSnapshot() })
  const { runs, concordat } = runtime
  const works = await runs.submit({ tenant, agent: 'works' })
  const fails = await runs.submit({ tenant, agent: 'fails' })
  const stopped = await runs.submit({ tenant, agent: 'sleeps' })
  await until(
    () => runs.get(tenant, stopped.runId),
    ({ waiting }) => waiting === 'TIMER',
  )
  await runs.pause(tenant, stopped.runId, { by: 'ada', as: 'OPERATOR' })
  await runs.resume(tenant, stopped.runId, { by: 'ada', as: 'OPERATOR' })
  await runs.stop(tenant, stopped.runId)
  for (const run of [works, fails, stopped]) await runtime.ended(run)
  const asks = await runs.submit({ tenant, agent: 'asks', input: 3_600_000 })
  const expires = await runs.submit({ tenant, agent: 'asks', input: 10 })
  const { approvals } = await until(
    () => runs.get(tenant, asks.runId),
    ({ status }) => status === 'paused',
  )
  const decision = { decision: 'approved', by: 'ada', as: 'OPERATOR' } as const
  await concordat.approvals.decide(tenant, approvals[0]?.approvalId ?? '', decision)
  for (const run of [asks, expires]) await runtime.ended(run)
  await leaveFindings(works.runId)
  await concordat.audit.reconcile(tenant, works.runId)
  await concordat.policies.apply(tenant, [{ name: 'p', metric: 'steps', max: 2 }])
  const steps = await runs.submit({ tenant, agent: 'steps' })
  await runtime.ended(steps)
  await concordat.tenants.suspend(tenant)
  await concordat.tenants.resume(tenant)
  const ofRuns = [works, fails, stopped, asks, expires, steps, { tenantId: tenant, runId: NO_RUN }].map((run) =>
    eventsOfRun(runtime.database, run),
  )
  published = (await Promise.all(ofRuns)).flat()
})
afterAll(() => runtime.close())

/** What a reconciliation finds: an action that is missing, one that nobody expected, an expectation without deadline. */
async function leaveFindings(runId: string): Promise<void> {
  await runtime.database.query(
    `update concordat.audit_acks set action = 'by_hand' where run_id = $1 and action = 'create_incident'`,
    [runId],
  )
  await runtime.database.query(editContract(`'{0,deadlineMs}', 'null'`), [runId])
}

/** Of runs that have not ended in time, and of what is mended. */
const notHere = ['audit.reconciliation.stale', 'audit.expectation.timeout', 'alert.resolved']

describe('the reference of events', () => {
  it('names every type that is published', () => {
    const types = Object.keys(eventTypes).filter((type) => !notHere.includes(type))
    expect([...new Set(published.map(({ type }) => type))].sort()).toEqual(types.sort())
  })

  it('names exactly the fields that each type has', () => {
    for (const { type, data } of published) {
      expect(Object.keys(data ?? {}).sort(), type).toEqual(Object.keys(eventTypes[type].data).sort())
    }
  })
})
