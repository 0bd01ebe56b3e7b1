import { beforeAll, expect, it } from 'vitest'
import { defineAgent, type RunReport } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { editContract } from './support/edit-contract.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })
const holds = defineAgent<string>({ name: 'holds', version: '1', run: ({ input }) => gates.at(input).pass() })

const LEGACY = { governanceProfile: undefined }
const ack = (domain: string, action: string) => `insert into concordat.audit_acks
  (tenant_id, run_id, domain, action, attempt, status, acked_at) values ('default', $1, '${domain}', '${action}', 1, 'SUCCESS', now())`

/** What somebody does to a run that has ended, and the alert that follows. */
const TAMPERINGS = [
  [
    'deletes its incident',
    'delete from concordat.incidents where run_id = $1',
    'MISSING_ACK',
    'incidents/create_incident',
  ],
  [
    'deletes its verdict',
    'delete from concordat.policy_evaluations where run_id = $1',
    'MISSING_ACK',
    'policies/evaluate_policy',
  ],
  ['deletes its trace', 'delete from concordat.traces where run_id = $1', 'MISSING_ACK', 'logs/complete_trace'],
  [
    'deletes an ack',
    `delete from concordat.audit_acks where run_id = $1 and action = 'finalize_run'`,
    'MISSING_ACK',
    'orchestrator/finalize_run',
  ],
  ['adds an ack that nobody expects', ack('incidents', 'delete_incident'), 'DRIFT', 'incidents/delete_incident'],
  ['doubles an ack', ack('logs', 'start_trace'), 'DRIFT', 'logs/start_trace'],
  ['takes a deadline away', editContract(`'{2,deadlineMs}', 'null'`), 'RECONCILIATION_FAILED', 'contract'],
  [
    'calls an ack failed',
    `update concordat.audit_acks set status = 'FAILED' where run_id = $1 and action = 'evaluate_policy'`,
    'MISSING_ACK',
    'policies/evaluate_policy',
  ],
  [
    'opens its trace again',
    'update concordat.traces set ending = null where run_id = $1',
    'MISSING_ACK',
    'logs/complete_trace',
  ],
  [
    'gives its incident to another run',
    'update concordat.incidents set run_id = gen_random_uuid() where run_id = $1',
    'MISSING_ACK',
    'incidents/create_incident',
  ],
] as const

describeOnDatabases('the audit on its schedule', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents: [works, holds], config: LEGACY })
    await runtime.database.query('create table refused (run_id uuid, table_name text)')
    await runtime.database.query(
      `create function refuse() returns trigger language plpgsql as $$
         begin
           if exists (select from refused where run_id = new.run_id and table_name = tg_table_name) then raise exception 'the disk is full'; end if;
           return new;
         end $$`,
    )
    for (const table of ['incidents', 'reconciliations']) {
      await runtime.database.query(
        `create trigger refuse before insert on concordat.${table} for each row execute function refuse()`,
      )
    }
  })

  const submit = (agent: string, input?: string) =>
    runtime.runs.submit({ tenant: 'default', agent, ...(input !== undefined && { input }) })
  const get = ({ runId }: { runId: string }) => runtime.runs.get('default', runId)
  const looked = (run: { runId: string }) =>
    until(
      () => get(run),
      ({ reconciliation }) => reconciliation !== null,
    )
  /** Waits until the run has an alert in this state, and the event of it: a report is read table by table. */
  const alerted = (run: { runId: string }, state: 'firing' | 'resolved' = 'firing') => {
    const event = state === 'firing' ? 'alert.raised' : 'alert.resolved'
    return until(
      () => get(run),
      ({ alerts, events }) =>
        alerts.some((alert) => alert.state === state) && events.some(({ type }) => type === event),
    )
  }
  const alertsOf = ({ alerts }: RunReport) => alerts.map(({ type, subject, state }) => [type, subject, state])
  const auditEvents = ({ events }: RunReport) =>
    events.map(({ type }) => type).filter((type) => /^(audit|alert)\./.test(type))
  const refuse = ({ runId }: { runId: string }, table: string) =>
    runtime.database.query('insert into refused values ($1, $2)', [runId, table])
  /** In a session that is none of ours, as in psql. */
  const bySomebody = (sql: string, values: readonly unknown[] = []) =>
    runtime.database.transaction(async (tx) => {
      await tx.query(`set local concordat.session = ''`)
      await tx.query(sql, values)
    })
  const makeDue = ({ runId }: { runId: string }) =>
    runtime.database.query(
      `insert into concordat.audit_looks (tenant_id, run_id) values ('default', $1)
       on conflict (tenant_id, run_id) do update set due_at = clock_timestamp()`,
      [runId],
    )

  it.concurrent('holds each ended run against its contract by itself: COMPLETE and no alert where all is well', async () => {
    const runs = await Promise.all(Array.from({ length: 20 }, () => submit('works')))
    for (const run of runs) {
      const seen = await looked(run)
      expect(seen.reconciliation).toMatchObject({ result: 'COMPLETE', findings: [] })
      expect([alertsOf(seen), auditEvents(seen)]).toEqual([[], []])
      const late = (seen.reconciliation?.reconciledAt.getTime() ?? 0) - (seen.endedAt?.getTime() ?? 0)
      expect(late).toBeGreaterThan(1_500)
    }
  })

  it.concurrent('finds what the legacy path left out, once, and resolves it when it is there', async () => {
    const gate = crypto.randomUUID()
    const handle = await submit('holds', gate)
    await refuse(handle, 'incidents')
    gates.at(gate).open()
    const missing = await alerted(handle)
    expect(alertsOf(missing)).toEqual([['MISSING_ACK', 'incidents/create_incident', 'firing']])
    expect(missing.alerts[0]).toMatchObject({ severity: 'error', domain: 'incidents', times: 1 })
    expect(missing.alerts[0]?.message).toContain('the disk is full')
    await runtime.concordat.audit.sweep({ since: new Date(0) })
    const again = await get(handle)
    expect(again.alerts).toEqual(missing.alerts)
    expect(auditEvents(again)).toEqual(['audit.reconciliation.missing', 'alert.raised'])
  })

  it.concurrent.each(TAMPERINGS)('finds that somebody %s: %#', async (_what, sql, type, subject) => {
    const run = await runtime.ended(await submit('works'))
    await looked(run) // nothing is due any more: the change itself asks for another look
    await bySomebody(sql, [run.runId])
    const seen = await alerted(run)
    expect(alertsOf(seen)).toEqual([[type, subject, 'firing']])
    await runtime.concordat.audit.reconcile('default', run.runId)
    const again = await get(run)
    expect([again.alerts, auditEvents(again)]).toEqual([seen.alerts, auditEvents(seen)])
  })

  it.concurrent('finds by itself that a run’s row is deleted, and puts off what it can’t hold against its contract', async () => {
    const runs = await Promise.all([submit('works'), submit('works')])
    const [gone, bad] = await Promise.all(runs.map(looked))
    await refuse(bad as RunReport, 'reconciliations')
    await runtime.database.query('delete from concordat.runs where run_id = any($1::uuid[])', [
      runs.map(({ runId }) => runId),
    ])
    const alerts = await until(
      () => runtime.concordat.alerts.list({ limit: 100 }),
      (list) => runs.every(({ runId }) => list.some((alert) => alert.runId === runId)),
    )
    expect(alerts.filter(({ runId }) => runId === gone?.runId)).toMatchObject([
      { type: 'MISSING_ACK', subject: 'orchestrator/finalize_run', times: 1 },
    ])
    expect(alerts.filter(({ runId }) => runId === bad?.runId)).toMatchObject([
      { type: 'RECONCILIATION_FAILED', subject: 'reconciliation', times: 1 },
    ])
    const looks = await runtime.database.query<{ runId: string; later: boolean }>(
      `select run_id as "runId", due_at > clock_timestamp() + interval '3 s' as later from concordat.audit_looks
        where run_id = any($1::uuid[])`,
      [runs.map(({ runId }) => runId)],
    )
    expect(looks).toContainEqual({ runId: bad?.runId, later: true })
  })

  it.concurrent('resolves what is put right, and fires again when it comes back: the same row', async () => {
    const run = await runtime.ended(await submit('works'))
    const remove = `delete from concordat.audit_acks where run_id = $1 and action = 'evaluate_policy'`
    await runtime.database.query(remove, [run.runId])
    await makeDue(run)
    const first = await alerted(run)
    await bySomebody(ack('policies', 'evaluate_policy'), [run.runId])
    const cleared = await alerted(run, 'resolved') // by itself
    expect(alertsOf(cleared)).toEqual([['MISSING_ACK', 'policies/evaluate_policy', 'resolved']])
    expect(cleared.alerts[0]?.resolvedAt).not.toBeNull()
    await runtime.database.query(remove, [run.runId])
    await runtime.concordat.audit.reconcile('default', run.runId)
    const back = await get(run)
    expect(back.alerts).toMatchObject([
      { alertId: first.alerts[0]?.alertId, state: 'firing', times: 2, resolvedAt: null },
    ])
    expect(auditEvents(back)).toEqual([
      'audit.reconciliation.missing',
      'alert.raised',
      'alert.resolved',
      'audit.reconciliation.missing',
      'alert.raised',
    ])
  })

  it.concurrent('looks again at what is wrong half a minute later, though nobody is seen to change it', async () => {
    const run = await runtime.ended(await submit('works'))
    await looked(run)
    await runtime.database.query(`delete from concordat.audit_acks where run_id = $1 and action = 'start_trace'`, [
      run.runId,
    ])
    await alerted(run)
    const [look] = await runtime.database.query<{ seconds: number }>(
      `select extract(epoch from due_at - clock_timestamp())::float8 as seconds from concordat.audit_looks where run_id = $1`,
      [run.runId],
    )
    expect(look?.seconds).toBeGreaterThan(20)
    expect(look?.seconds).toBeLessThan(31)
    await runtime.database.query(ack('logs', 'start_trace'), [run.runId])
    await makeDue(run) // half a minute later
    expect(alertsOf(await alerted(run, 'resolved'))).toEqual([['MISSING_ACK', 'logs/start_trace', 'resolved']])
    const after = await runtime.database.query('select from concordat.audit_looks where run_id = $1', [run.runId])
    expect(after).toEqual([])
  })

  it.concurrent('tells of a run of which nothing at all is left but that it was audited', async () => {
    const { runId } = await runtime.ended(await submit('works'))
    await looked({ runId })
    await bySomebody(
      `with a as (delete from concordat.incidents where run_id = $1), b as (delete from concordat.traces where run_id = $1),
            c as (delete from concordat.policy_evaluations where run_id = $1), d as (delete from concordat.steps where run_id = $1),
            e as (delete from concordat.audit_acks where run_id = $1)
       delete from concordat.runs where run_id = $1`,
      [runId],
    )
    const report = await until(
      () => runtime.concordat.audit.get(null, runId),
      ({ alerts }) => alerts.length > 0,
    )
    expect(report).toMatchObject({
      tenantId: 'default',
      status: 'gone',
      expectations: [],
      acks: [],
      reconciliation: { result: 'INCOMPLETE' },
      alerts: [{ type: 'MISSING_ACK', subject: 'orchestrator/finalize_run', state: 'firing' }],
    })
    expect(report.alerts[0]?.message).toContain('nor any other record of it')
    expect(await runtime.concordat.audit.reconcile('default', runId)).toMatchObject({ result: 'INCOMPLETE' })
    await expect(runtime.concordat.audit.get(null, crypto.randomUUID())).rejects.toMatchObject({
      code: 'RUN_NOT_FOUND',
    })
  })

  it.concurrent('tells of a run that it can’t hold against its contract, puts it off, and takes the others on', async () => {
    const runs = await Promise.all(Array.from({ length: 6 }, () => submit('works')))
    const [bad] = runs
    if (!bad) throw new Error('unreachable')
    await runtime.ended(bad)
    await refuse(bad, 'reconciliations')
    for (const run of runs.slice(1)) expect((await looked(run)).reconciliation?.result).toBe('COMPLETE')
    const failed = await alerted(bad)
    expect(alertsOf(failed)).toEqual([['RECONCILIATION_FAILED', 'reconciliation', 'firing']])
    expect(auditEvents(failed)).toEqual(['alert.raised', 'audit.reconciliation.failed'])
    await makeDue(bad)
    await until(
      () =>
        runtime.database.query<{ put_off: boolean }>(
          "select due_at > clock_timestamp() + interval '3 s' as put_off from concordat.audit_looks where run_id = $1",
          [bad.runId],
        ),
      ([row]) => row?.put_off === true,
    )
    expect((await get(bad)).alerts).toEqual(failed.alerts)
    await expect(runtime.concordat.audit.reconcile('default', bad.runId)).rejects.toThrow('the disk is full')
    await runtime.database.query('delete from refused where run_id = $1', [bad.runId])
    await makeDue(bad)
    expect(alertsOf(await alerted(bad, 'resolved'))).toEqual([['RECONCILIATION_FAILED', 'reconciliation', 'resolved']])
  })

  it.concurrent('fails a run that is past its time and that nobody executes, with its whole footprint', async () => {
    const gate = crypto.randomUUID()
    const handle = await submit('holds', gate)
    await until(
      () => get(handle),
      ({ phase }) => phase === 'EXECUTING',
    )
    await runtime.database.query(
      `update concordat.runs set worker_id = null, active_since = null, active_ms = 4000000,
              execution_started_at = clock_timestamp() - interval '2 h', reconcile_due_at = clock_timestamp()
        where run_id = $1`,
      [handle.runId],
    )
    const run = await alerted(handle, 'resolved')
    gates.at(gate).open()
    expect(run).toMatchObject({ status: 'failed', reason: 'RUN_STALE', incident: { outcome: 'FAILURE' } })
    expect(run.acks.filter(({ status }) => status === 'SUCCESS')).toHaveLength(5)
    expect(alertsOf(run)).toEqual([['STALE_RUN', 'orchestrator/finalize_run', 'resolved']])
    expect(auditEvents(run)).toEqual(['audit.reconciliation.stale', 'alert.raised', 'alert.resolved'])
    expect(run.reconciliation?.result).toBe('COMPLETE')
  })

  it.concurrent('looks at a run seconds after its end, also when a look that failed was put off for minutes', async () => {
    const gate = crypto.randomUUID()
    const handle = await submit('holds', gate)
    await runtime.database.query(
      `insert into concordat.audit_looks (tenant_id, run_id, due_at) values ('default', $1, clock_timestamp() + interval '5 min')`,
      [handle.runId],
    )
    gates.at(gate).open()
    const run = await runtime.ended(handle)
    const [look] = await runtime.database.query<{ late: number }>(
      `select extract(epoch from due_at - $2)::float8 as late from concordat.audit_looks where run_id = $1`,
      [handle.runId, run.endedAt],
    )
    expect(look?.late ?? 0).toBeLessThan(10) // none any more: it has been looked at
  })

  it.concurrent('finds an action overdue while its run goes on, and looks again when more can be', async () => {
    const gate = crypto.randomUUID()
    const handle = await submit('holds', gate)
    await until(
      () => get(handle),
      ({ phase }) => phase === 'EXECUTING',
    )
    await runtime.database.query(`delete from concordat.audit_acks where run_id = $1 and action = 'start_trace'`, [
      handle.runId,
    ])
    await runtime.database.query(
      `update concordat.runs set execution_started_at = execution_started_at - interval '6 s', reconcile_due_at = clock_timestamp()
        where run_id = $1`,
      [handle.runId],
    )
    const late = await alerted(handle)
    expect(alertsOf(late)).toEqual([['EXPECTATION_TIMEOUT', 'logs/start_trace', 'firing']])
    const [row] = await runtime.database.query<{ minutes: number }>(
      'select extract(epoch from reconcile_due_at - clock_timestamp())::int / 60 as minutes from concordat.runs where run_id = $1',
      [handle.runId],
    )
    expect(row?.minutes).toBeGreaterThan(55)
    gates.at(gate).open()
    expect(alertsOf(await alerted(handle, 'resolved'))).toEqual([
      ['EXPECTATION_TIMEOUT', 'logs/start_trace', 'resolved'],
    ])
  })

  it.concurrent('tells, once, of a run that has lost too many workers, and that it has ended', async () => {
    const handle = await submit('holds', 'lost')
    await until(
      () => get(handle),
      ({ phase }) => phase === 'EXECUTING',
    )
    await runtime.database.query(
      'update concordat.runs set worker_losses = 5, worker_id = gen_random_uuid() where run_id = $1',
      [handle.runId],
    )
    const run = await alerted(handle, 'resolved')
    gates.at('lost').open()
    expect(run).toMatchObject({ status: 'failed', reason: 'WORKER_LOST' })
    expect(alertsOf(run)).toEqual([['STALE_RUN', 'orchestrator/finalize_run', 'resolved']])
  })

  it('is acknowledged by a person once; the list shows what is open', async () => {
    const [alert] = await runtime.concordat.alerts.list({ state: 'firing' })
    const acknowledged = await runtime.concordat.alerts.ack(alert?.alertId ?? '', 'ada')
    expect(acknowledged).toMatchObject({ state: 'acknowledged', acknowledgedBy: 'ada' })
    await expect(runtime.concordat.alerts.ack(acknowledged.alertId, 'bob')).rejects.toMatchObject({
      code: 'ALERT_NOT_FOUND',
      message: expect.stringContaining('acknowledged by ada'),
    })
    const open = await runtime.concordat.alerts.list()
    expect(open.map(({ alertId }) => alertId)).toContain(acknowledged.alertId)
    expect(await runtime.concordat.alerts.list({ tenantId: 'nobody' })).toEqual([])
  })

  it('finds by itself that a table is truncated, of every run that has ended', async () => {
    const run = await runtime.ended(await submit('works'))
    await looked(run)
    await bySomebody('truncate concordat.policy_evaluations')
    expect(alertsOf(await alerted(run))).toEqual([['MISSING_ACK', 'policies/evaluate_policy', 'firing']])
  })
})

describeOnDatabases('a sweep that somebody asks for while no worker lives', (open) => {
  it('ends the run that is past its time, with its whole footprint', async () => {
    const { concordat, database } = await open({ agents: [works], started: false })
    const { runId } = await concordat.runs.submit({ tenant: 'default', agent: 'works' })
    await database.query(
      `update concordat.runs set phase = 'EXECUTING', ready_at = null, active_ms = 4000000,
              execution_started_at = clock_timestamp() - interval '2 h', reconcile_due_at = clock_timestamp()
        where run_id = $1`,
      [runId],
    )
    expect(await concordat.audit.sweep()).toEqual({ runs: 1, found: 1 })
    const run = await concordat.runs.get('default', runId)
    expect(run).toMatchObject({ status: 'failed', reason: 'RUN_STALE', trace: { ending: 'ABORTED' } })
    expect(run.acks.filter(({ status }) => status === 'SUCCESS')).toHaveLength(5)
    expect((await concordat.alerts.list()).map(({ type }) => type)).toContain('STALE_RUN')
    await concordat.audit.reconcile('default', runId)
    expect(await concordat.alerts.list()).toEqual([])
  })
})
