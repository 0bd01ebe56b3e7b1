import pg from 'pg'
import { expect, it } from 'vitest'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { CREATE_WITNESS, crashAgents } from '../torture/crash-agents.ts'
import { startWorker } from '../torture/worker-process.ts'
import { closing } from './support/databases.ts'
import { until } from './support/until.ts'

const RUNS = 12

describeOnPostgres('approvals of runs whose worker is killed', (server) => {
  const { later, closeLater } = closing()

  it('are each given once and used once', async () => {
    const { url, drop } = await createDatabase(server)
    later(drop)
    const database = new pg.Pool({ connectionString: url, max: 2 })
    later(() => database.end())
    await database.query(CREATE_WITNESS)
    const agents = crashAgents(database)
    const people = closeLater(await createTestRuntime({ databaseUrl: url, agents, started: false }))
    let worker = startWorker(url)
    await worker.ready
    later(async () => {
      worker.signal('SIGKILL')
      await worker.exited
    })
    const { runs, approvals } = people.concordat
    const submit = () => runs.submit({ tenant: 'default', agent: 'approved' })
    const handles = await Promise.all(Array.from({ length: RUNS }, submit))
    const pending = await until(
      () => approvals.list({ tenantId: 'default', state: 'pending' }),
      ({ length }) => length === RUNS,
    )
    const decide = (approvalId: string, by: string) => {
      return approvals.decide('default', approvalId, { by, as: 'TENANT_ADMIN', decision: 'approved' })
    }
    const outcomes = await Promise.all(
      pending.map(async ({ approvalId }, i) => {
        if (i === RUNS / 2) worker.signal('SIGKILL')
        const tries = await Promise.allSettled([decide(approvalId, 'ada'), decide(approvalId, 'eve')])
        return tries.map(({ status }) => status).toSorted()
      }),
    )
    expect(outcomes).toEqual(handles.map(() => ['fulfilled', 'rejected']))
    await worker.exited
    worker = startWorker(url)
    for (const handle of handles) {
      const { status, reason, approvals: given } = await people.ended(handle)
      const { rowCount } = await database.query('select from witness where run_id = $1', [handle.runId])
      // Killed in the middle of it, nobody can know whether it acted: it does not act again.
      if (status === 'failed') expect([reason, rowCount ?? 0]).toEqual(['STEP_UNKNOWN', expect.toBeOneOf([0, 1])])
      else expect([status, rowCount]).toEqual(['succeeded', 1])
      expect(given.map(({ state }) => state)).toEqual(['consumed'])
    }
  })
})
