import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'

describeOnDatabases('a run whose stored contract somebody has broken', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [defineAgent({ name: 'works', version: '1', run: async () => 'done' })] })
  })

  /** Gives the run, and no other, what `change` makes of its contract. */
  async function brokenRun(change: string): Promise<string> {
    const { runId } = await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'works' }))
    await runtime.database.query(
      `with broken as (
         insert into concordat.audit_contracts (contract_id, expectations)
         select gen_random_uuid(), (${change})::json from concordat.runs r join concordat.audit_contracts c using (contract_id)
          where r.run_id = $1 returning contract_id)
       update concordat.runs set contract_id = (select contract_id from broken) where run_id = $1`,
      [runId],
    )
    return runId
  }

  it.each([
    ['is left out', `c.expectations::jsonb #- '{2,deadlineMs}'`],
    ['is later than any date', `jsonb_set(c.expectations::jsonb, '{2,deadlineMs}', '1e300')`],
  ])('is shown, and told as an invalid contract, where a deadline %s', async (_what, change) => {
    const { audit, runs } = runtime.concordat
    const runId = await brokenRun(change)
    const { result, findings } = await audit.reconcile('default', runId)
    expect({ result, kinds: findings.map(({ kind }) => kind) }).toEqual({
      result: 'INCOMPLETE',
      kinds: ['invalid_contract'],
    })
    const { expectations, alerts } = await audit.get('default', runId)
    expect(expectations[2]).toMatchObject({ action: 'evaluate_policy', deadlineMs: null, dueAt: null, status: 'ACKED' })
    expect(alerts.map(({ type, subject }) => [type, subject])).toEqual([['RECONCILIATION_FAILED', 'contract']])
    expect((await runs.get('default', runId)).expectations).toEqual(expectations)
  })

  it.each([
    ['no list', `'{"a":1}'`],
    ['nothing', `'null'`],
  ])('is shown without expectations, and can’t be held against it, where it is %s', async (_what, change) => {
    const { audit, runs } = runtime.concordat
    const runId = await brokenRun(change)
    await expect(audit.reconcile('default', runId)).rejects.toMatchObject({ code: 'CONTRACT_UNMET' })
    const { expectations, alerts } = await audit.get('default', runId)
    expect(expectations).toEqual([])
    expect(alerts).toMatchObject([{ type: 'RECONCILIATION_FAILED', subject: 'reconciliation', state: 'firing' }])
    expect((await runs.get('default', runId)).acks).toHaveLength(5)
  })
})
