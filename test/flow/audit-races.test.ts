import { expect, it } from 'vitest'
import { takeLooks } from '../../src/domains/audit/audit.ts'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing, describeOnDatabases } from './support/databases.ts'
import { until } from './support/until.ts'

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })

describeOnDatabases('two looks at the same run at the same time', (open) => {
  it('agree: the one that has seen less does not have the last word', async () => {
    const runtime = await open({ agents: [works] })
    const { audit } = runtime.concordat
    const run = await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'works' }))
    await runtime.concordat.stop() // and with it the look on schedule
    await runtime.database.query('update concordat.runs set reconcile_due_at = null')

    const early = runtime.database.pauseAt('reconciliations_upsert')
    const first = audit.reconcile('default', run.runId)
    await early.reached
    const breach = runtime.database.query(`delete from concordat.audit_acks where action = 'finalize_run'`)
    const second = breach.then(() => audit.reconcile('default', run.runId))
    // On PostgreSQL the second one waits for the first; embedded, already the breach does.
    if (runtime.database.kind === 'postgres') await breach.then(() => secondWaits(runtime))
    early.resume()
    expect([(await first).result, (await second).result]).toEqual(['COMPLETE', 'INCOMPLETE'])
    const { alerts, reconciliation } = await runtime.runs.get('default', run.runId)
    expect(reconciliation?.result).toBe('INCOMPLETE')
    expect(alerts).toMatchObject([{ type: 'MISSING_ACK', state: 'firing' }])
  })

  /** Waits until it does, or has ended without. */
  const secondWaits = ({ database }: TestRuntime) =>
    until(
      () =>
        database.query<{ waits: boolean }>(
          `select exists (select from pg_locks where not granted) or exists (
                    select from concordat.reconciliations where result = 'INCOMPLETE') as waits`,
        ),
      ([row]) => row?.waits === true,
    )
})

describeOnPostgres('a look on schedule', (server) => {
  const { later, closeLater } = closing()

  it('takes what asks for it together with the run, or later: two that wait for each other would both fail', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const runtime = closeLater(await createTestRuntime({ agents: [works], databaseUrl }))
    const run = await runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'works' }))
    await runtime.concordat.stop()
    const take = () => runtime.database.transaction((tx) => takeLooks(tx, 10))
    await runtime.database.query('delete from concordat.audit_looks')

    const first = runtime.database.pauseAt('reconciliations_upsert')
    later(async () => first.resume())
    const byHand = runtime.concordat.audit.reconcile('default', run.runId)
    await first.reached
    await runtime.database.query('insert into concordat.audit_looks (tenant_id, run_id) values ($1, $2)', [
      'default',
      run.runId,
    ])
    expect(await take()).toEqual([])
    first.resume()
    await byHand
    expect(await take()).toEqual([{ tenantId: 'default', runId: run.runId }])
  })
})
