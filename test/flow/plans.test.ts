import pg from 'pg'
import { beforeAll, expect, it } from 'vitest'
import { SESSION_SETTINGS } from '../../src/foundation/storage/session-settings.ts'
import { defineAgent, type RunReport } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import { multiplyRows, rowCounts } from '../support/many-rows.ts'
import { genericPlan, NOT_DUE, partialIndexes, wholeReads } from '../support/plans.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { namedStatements } from '../support/statements.ts'
import { closing } from './support/databases.ts'
import { until } from './support/until.ts'

/** How many copies there are of the rows of a run of everything in tables that are nearly empty, and then of all those. */
const FEW = 20
const MANY = 100

/** Rows that grow with every run. Others are as many as there are tenants, workers, agents or partitions. */
const GROWING = [
  ...['runs', 'steps', 'traces', 'incidents', 'policy_evaluations', 'policy_violations', 'lessons', 'audit_contracts'],
  ...['audit_acks', 'reconciliations', 'alerts', 'outbox', 'deliveries', 'pauses', 'approvals', 'waits', 'signals'],
  ...['budgets', 'reservations'],
]

/** Statements that may read all rows of a tenant, or of all, and why. */
const MAY_READ_ALL: Readonly<Record<string, string>> = {
  footprint_count: 'a report of all that there is, as after a demo or a replay',
  footprint_events: 'the same report, of events',
  footprint_not_complete: 'the same report, of what does not agree',
  footprint_not_ended: 'the same report, of runs that have not ended',
  reactor_partitions_remove: 'as many rows as a group of reactors has partitions',
  runs_ended_use: 'a page of a tenant’s ended runs, the newest first, which ends at its limit',
}

/** Statements that read a table that is nearly empty, and find its rows by key once it is not. */
const MAY_READ_FEW: Readonly<Record<string, string>> = {
  alerts_set_told: 'a join, because rows may change while they are found: at notifications and ends of silences only',
  runs_pauses_delivered: 'a join, because rows may change while they are found: at pauses only',
}

const child = defineAgent({ name: 'child', version: '1', run: ({ step }) => step.do('work', () => 1) })
/** Its run leaves rows in each of these tables. */
const whole = defineAgent({
  name: 'whole',
  version: '1',
  async run({ step }) {
    await step.run('child')
    await step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', tokensIn: 7, tokensOut: 3, costUsd: 0.1 })
    await step.waitFor('go')
    await step.approval('ask', { message: 'May I?' })
  },
})

const tenant = 'default'

/** Brings one run through all of it. Rows that are gone once it has ended are kept, as of a run that goes on. */
async function leaveRows(runtime: TestRuntime): Promise<void> {
  const { runs, concordat, database } = runtime
  await concordat.policies.apply(tenant, [
    { name: 'steps', metric: 'steps', max: 1, effect: 'warn' },
    { name: 'day', metric: 'cost_usd', max: 100, scope: 'tenant', window: 'day' },
    { name: 'run', metric: 'cost_usd', max: 100 },
  ])
  const run = await runs.submit({ tenant, agent: 'whole' })
  const seen = (isIt: (report: RunReport) => boolean) => until(() => runs.get(tenant, run.runId), isIt)
  await seen(({ waiting }) => waiting === 'SIGNAL')
  const passing = ['waits', 'reservations']
  for (const table of passing) await database.query(`create table kept_${table} as select * from concordat.${table}`)
  await runs.signal(tenant, run.runId, 'go', null)
  const { approvals } = await seen(({ status }) => status === 'paused')
  const decision = { decision: 'approved', by: 'ada', as: 'OPERATOR' } as const
  await concordat.approvals.decide(tenant, approvals[0]?.approvalId ?? '', decision)
  await runtime.ended(run)
  await database.query(`delete from concordat.audit_acks where action = 'evaluate_policy'`)
  await concordat.audit.reconcile(tenant, run.runId)
  await until(
    () => database.query('select from concordat.deliveries'),
    ({ length }) => length > 0,
  )
  for (const table of passing) {
    await database.query(`insert into concordat.${table} select * from kept_${table} on conflict do nothing`)
  }
}

describeOnPostgres('a named statement', (server) => {
  const { later } = closing()
  let client: pg.Client
  let statements: ReadonlyMap<string, string>

  beforeAll(async () => {
    statements = await namedStatements()
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const config = { midExecutionPolicyCheckEnabled: true }
    const sinks = [{ type: 'webhook', url: 'https://127.0.0.1:9/', secret: `whsec_${btoa('0'.repeat(32))}` }] as const
    const runtime = await createTestRuntime({ databaseUrl, agents: [child, whole], config, sinks })
    await leaveRows(runtime)
    await runtime.close()
    client = new pg.Client(databaseUrl)
    await client.connect()
    later(() => client.end())
    await client.query(SESSION_SETTINGS)
  })

  /** By statement: what it reads whole of the tables that grow, but for what it may. */
  async function found(exceptions: Readonly<Record<string, string>>): Promise<Record<string, string[]>> {
    const partial = await partialIndexes(client)
    const reads: Record<string, string[]> = {}
    for (const [name, text] of statements) {
      const whole = wholeReads(await genericPlan(client, text), partial)
      const growing = whole.filter(({ table, how }) => GROWING.includes(table) || how.startsWith(NOT_DUE))
      if (growing.length > 0 && !(name in exceptions)) reads[name] = growing.map(({ how }) => how)
    }
    return reads
  }

  it('goes by key, also with a plan that was made when tables were nearly empty', async () => {
    await multiplyRows(client, FEW)
    await client.query('analyze')
    expect(await found({ ...MAY_READ_ALL, ...MAY_READ_FEW })).toEqual({})
  })

  it('goes by key when tables are full and statistics still say that they are nearly empty', async () => {
    await multiplyRows(client, MANY)
    const counts = await rowCounts(client)
    expect(GROWING.filter((table) => (counts[table] ?? 0) < FEW * MANY)).toEqual([])
    expect(await found(MAY_READ_ALL)).toEqual({})
  })

  it('goes by key when statistics know how many rows there are', async () => {
    await client.query('analyze')
    expect(await found(MAY_READ_ALL)).toEqual({})
  })

  it('of a claim reads the queue in its order as long as there are no statistics', async () => {
    const { url: databaseUrl, drop } = await createDatabase(server)
    later(drop)
    const runtime = await createTestRuntime({ databaseUrl, agents: [child], started: false })
    later(() => runtime.close())
    for (let queued = 50; queued <= 250; queued += 50) {
      await Promise.all(Array.from({ length: 50 }, () => runtime.runs.submit({ tenant, agent: 'child' })))
      const newcomer = new pg.Client(databaseUrl) // a connection remembers how high an index was when it first read it
      await newcomer.connect()
      await newcomer.query(`${SESSION_SETTINGS}; begin`)
      await newcomer.query(statements.get('claims_begin') ?? '', [false])
      const plan = await genericPlan(newcomer, statements.get('runs_claim_and_start') ?? '')
      const partial = await partialIndexes(newcomer)
      await newcomer.end()
      expect(wholeReads(plan, partial).filter(({ table }) => table === 'runs')).toEqual([])
    }
  })

  it('is excepted only where there is one of that name', () => {
    const excepted = Object.keys({ ...MAY_READ_ALL, ...MAY_READ_FEW })
    expect(excepted.filter((name) => !statements.has(name))).toEqual([])
  })
})
