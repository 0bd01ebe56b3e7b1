import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../../src/testing/testing.ts'
import {
  createDatabase,
  describeOnPostgres,
  describeOnRedis,
  type PostgresServer,
  startRedis,
} from '../support/servers.ts'
import { editContract } from './support/edit-contract.ts'
import { Gates } from './support/gate.ts'
import { createRefusals, refuse } from './support/refusals.ts'
import { until } from './support/until.ts'

const CLEAN_RUNS = 2_000
/** Longer than what an index takes, and nothing that compresses. */
const LONG = randomBytes(5_000).toString('hex')

type Transport = 'memory' | 'postgres' | 'redis-pubsub' | 'redis-streams'
type Found = readonly [type: string, subject: string, state?: string]
type Breach = readonly [what: string, breach: (runtime: TestRuntime, runId: string) => Promise<unknown>, found: Found]

const sql =
  (text: string) =>
  ({ database }: TestRuntime, runId: string) =>
    database.query(text, [runId])
const deleted = (table: string) => sql(`delete from concordat.${table} where run_id = $1`)
const unacked = (action: string) => sql(`delete from concordat.audit_acks where run_id = $1 and action = '${action}'`)
const acked = (domain: string, action: string) =>
  sql(`insert into concordat.audit_acks (tenant_id, run_id, domain, action, attempt, status, acked_at)
       values ('default', $1, '${domain}', '${action}', 1, 'SUCCESS', now())`)
const withoutDeadline = sql(editContract(`'{2,deadlineMs}', 'null'`))

/** What goes wrong while a run still executes, and the one alert that tells of it. */
const WHILE_RUNNING: readonly Breach[] = [
  [
    'its incident is refused silently',
    ({ database }, runId) => refuse(database, 'incidents', [runId]),
    ['MISSING_ACK', 'incidents/create_incident'],
  ],
  [
    'its verdict is refused silently',
    ({ database }, runId) => refuse(database, 'policy_evaluations', [runId]),
    ['MISSING_ACK', 'policies/evaluate_policy'],
  ],
  [
    'the end of its trace is refused silently',
    ({ database }, runId) => refuse(database, 'traces', [runId]),
    ['MISSING_ACK', 'logs/complete_trace'],
  ],
  ['an expectation loses its deadline', withoutDeadline, ['RECONCILIATION_FAILED', 'contract']],
  [
    'its worker dies, the sixth one',
    sql('update concordat.runs set worker_losses = 5, worker_id = gen_random_uuid() where run_id = $1'),
    ['STALE_RUN', 'orchestrator/finalize_run', 'resolved'],
  ],
]

/** What somebody does to a run that has ended well. */
const AFTERWARDS: readonly Breach[] = [
  ['its incident is deleted', deleted('incidents'), ['MISSING_ACK', 'incidents/create_incident']],
  ['its verdict is deleted', deleted('policy_evaluations'), ['MISSING_ACK', 'policies/evaluate_policy']],
  ['its trace is deleted', deleted('traces'), ['MISSING_ACK', 'logs/complete_trace']],
  ['its row is deleted', deleted('runs'), ['MISSING_ACK', 'orchestrator/finalize_run']],
  ['an ack of its incident is deleted', unacked('create_incident'), ['MISSING_ACK', 'incidents/create_incident']],
  ['an ack of its verdict is deleted', unacked('evaluate_policy'), ['MISSING_ACK', 'policies/evaluate_policy']],
  ['an ack of its trace’s start is deleted', unacked('start_trace'), ['MISSING_ACK', 'logs/start_trace']],
  ['an ack of its trace’s end is deleted', unacked('complete_trace'), ['MISSING_ACK', 'logs/complete_trace']],
  ['an ack of its end is deleted', unacked('finalize_run'), ['MISSING_ACK', 'orchestrator/finalize_run']],
  [
    'its incident is deleted together with the ack',
    async (runtime, runId) => {
      await deleted('incidents')(runtime, runId)
      await unacked('create_incident')(runtime, runId)
    },
    ['MISSING_ACK', 'incidents/create_incident'],
  ],
  [
    'an ack is added that nobody expects',
    acked('incidents', 'delete_incident'),
    ['DRIFT', 'incidents/delete_incident'],
  ],
  [
    'an ack is added whose action holds lines of others',
    acked('logs', `x\nSUCCESS\tlogs\tstart_trace\n${LONG}`),
    ['DRIFT', `logs/${`x SUCCESS logs start_trace ${LONG}`.slice(0, 200)}`],
  ],
  ['an ack is doubled', acked('logs', 'start_trace'), ['DRIFT', 'logs/start_trace']],
  ['an expectation loses its deadline', withoutDeadline, ['RECONCILIATION_FAILED', 'contract']],
  [
    'its reconciliation fails',
    ({ database }, runId) => database.query(`insert into refused values ($1, 'reconciliations')`, [runId]),
    ['RECONCILIATION_FAILED', 'reconciliation'],
  ],
]

/** A runtime that falls back to the legacy path, and all alerts and events of alerts that its reactor has brought to a handler. */
class AuditWorld {
  readonly gates = new Gates()
  /** Event id to `type alertId`. */
  readonly told = new Map<string, string>()
  readonly #open: (world: AuditWorld) => Promise<TestRuntime>
  runtime!: TestRuntime

  constructor(open: (world: AuditWorld) => Promise<TestRuntime>) {
    this.#open = open
  }

  async open(): Promise<this> {
    this.runtime = await this.#open(this)
    return this
  }

  async restart(): Promise<void> {
    await this.runtime.close()
    await this.open()
  }

  /** All alert rows that there are. */
  alerts(): Promise<
    { run_id: string; type: string; subject: string; state: string; times: number; alert_id: string; message: string }[]
  > {
    return this.runtime.database.query(
      'select run_id, type, subject, state, times, alert_id, message from concordat.alerts order by run_id, type, subject',
    )
  }

  /** How many of the runs have been held against their contracts, by result. */
  async reconciled(runIds: readonly string[]): Promise<Record<string, number>> {
    const rows = await this.runtime.database.query<{ result: string; n: number }>(
      `select result, count(*)::int as n from concordat.reconciliations where run_id = any($1::uuid[]) group by result`,
      [runIds],
    )
    return Object.fromEntries(rows.map(({ result, n }) => [result, n]))
  }

  submit(agent: string, input?: string) {
    return this.runtime.runs.submit({ tenant: 'default', agent, ...(input !== undefined && { input }) })
  }

  /** Does everything that can go wrong to runs, each to one of its own. Returns what should be found. */
  async breach(): Promise<Map<string, Found>> {
    const { runtime, gates } = this
    const found = new Map<string, Found>()
    await Promise.all([
      ...WHILE_RUNNING.map(async ([, breach, expected]) => {
        const gate = crypto.randomUUID()
        const { runId } = await this.submit('gated', gate)
        await gates.at(gate).reached
        await breach(runtime, runId)
        if (expected[0] !== 'STALE_RUN') gates.at(`${gate} open`).open()
        found.set(runId, expected)
      }),
      ...AFTERWARDS.map(async ([, breach, expected]) => {
        const run = await runtime.ended(await this.submit('works'))
        await breach(runtime, run.runId)
        found.set(run.runId, expected)
      }),
    ])
    // Some have been looked at before they were broken.
    await runtime.database.query(
      `insert into concordat.audit_looks (tenant_id, run_id)
       select tenant_id, run_id from concordat.runs where run_id = any($1::uuid[]) and ended_at is not null
       on conflict (tenant_id, run_id) do update set due_at = clock_timestamp()`,
      [[...found.keys()]],
    )
    return found
  }
}

function describeAudit(
  server: PostgresServer,
  transport: Transport,
  redis: () => Promise<{ url?: string; stop(): Promise<void> }>,
) {
  it(`finds each breach once and nothing else, over ${transport}`, async () => {
    const [{ url: databaseUrl, drop }, { url: redisUrl, stop }] = await Promise.all([createDatabase(server), redis()])
    const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })
    const world = await new AuditWorld(({ gates, told }) => {
      const gated = defineAgent<string>({
        name: 'gated',
        version: '1',
        run: async ({ input }) => {
          void gates.at(input).pass()
          await gates.at(`${input} open`).pass()
        },
      })
      return createTestRuntime({
        databaseUrl,
        agents: [works, gated],
        handlers: [
          {
            type: 'alert.*',
            name: 'told',
            handle: ({ id, type, data }) => void told.set(id, `${type} ${(data as { alertId: string }).alertId}`),
          },
        ],
        config: { governanceProfile: 'STANDARD', eventTransport: transport, redisUrl },
      })
    }).open()
    const { database } = world.runtime
    await createRefusals(database)
    await database.query(
      'create trigger refuse before insert on concordat.reconciliations for each row execute function refuse()',
    )

    const clean = Array.from({ length: CLEAN_RUNS }, () => world.submit('works'))
    const found = await world.breach()
    const cleanIds = (await Promise.all(clean)).map(({ runId }) => runId)
    const expected = [...found].map(([run_id, [type, subject, state = 'firing']]) => ({ run_id, type, subject, state }))
    const alerts = await until(
      () => world.alerts(),
      (seen) => seen.length >= expected.length && seen.filter(({ state }) => state === 'resolved').length > 0,
    )
    await until(
      () => world.reconciled(cleanIds),
      (results) => (results.COMPLETE ?? 0) === CLEAN_RUNS,
    )
    expect(alerts).toEqual(
      expected
        .toSorted((a, b) => (a.run_id < b.run_id ? -1 : 1))
        .map((each) => expect.objectContaining({ ...each, times: 1 })),
    )
    const events = alerts.flatMap(({ state, alert_id }) =>
      ['alert.raised', ...(state === 'resolved' ? ['alert.resolved'] : [])].map((type) => `${type} ${alert_id}`),
    )
    await until(
      () => world.told.size,
      (size) => size >= events.length,
    )

    await database.query(
      `update concordat.runs set execution_ended_at = execution_ended_at - interval '10 s', reconcile_due_at = now()
        where pending is not null`,
    ) // what it is parked for has made everything overdue that only its end can acknowledge
    await world.runtime.concordat.audit.sweep({ since: new Date(0) })
    await world.restart()
    await world.runtime.concordat.audit.sweep({ since: new Date(0) })
    const gone = alerts.find(({ message }) => message.includes('its run is not there'))
    const again = await world.runtime.concordat.audit.reconcile(null, gone?.run_id ?? '')
    expect(again).toMatchObject({ tenantId: 'default', result: 'INCOMPLETE' })
    const last = await world.submit('works')
    await world.runtime.heard('run.completed', last)
    expect(await world.alerts()).toEqual(alerts)
    expect([...world.told.values()].toSorted()).toEqual(events.toSorted())
    expect(await world.reconciled(cleanIds)).toEqual({ COMPLETE: CLEAN_RUNS })
    await world.runtime.close()
    await Promise.all([drop(), stop()])
  })
}

describeOnPostgres('the audit', (server) => {
  const none = async () => ({ stop: async () => {} })
  describeAudit(server, 'postgres', none)
  if (server.version > 15) return
  describeAudit(server, 'memory', none)
  describeOnRedis('and', () => {
    describeAudit(server, 'redis-pubsub', startRedis)
    describeAudit(server, 'redis-streams', startRedis)
  })
})
