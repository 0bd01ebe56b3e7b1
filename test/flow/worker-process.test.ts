import pg from 'pg'
import { expect, it } from 'vitest'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { CREATE_WITNESS, crashAgents } from '../torture/crash-agents.ts'
import { startWorker } from '../torture/worker-process.ts'
import { closing } from './support/databases.ts'
import { until } from './support/until.ts'

describeOnPostgres('a worker process', (server) => {
  const { later, closeLater } = closing()

  /** A database of the test's own, and a runtime that submits and looks on. */
  async function arena() {
    const { url, drop } = await createDatabase(server)
    later(drop)
    const database = new pg.Pool({ connectionString: url, max: 2 })
    later(() => database.end())
    await database.query(CREATE_WITNESS)
    const watcher = closeLater(
      await createTestRuntime({ databaseUrl: url, agents: crashAgents(database), started: false }),
    )
    const worker = (env?: Record<string, string>) => {
      const started = startWorker(url, env)
      later(async () => {
        started.signal('SIGCONT')
        started.signal('SIGKILL')
        await started.exited
      })
      return started
    }
    const rowsOf = async (runId: string) => {
      const tables = ['runs', 'steps', 'incidents', 'policy_evaluations', 'traces', 'audit_acks', 'outbox']
      const select = (table: string) =>
        database.query(`select * from concordat.${table} where run_id = $1 order by 1, 2, 3`, [runId])
      return (await Promise.all(tables.map(select))).map((result) => result.rows)
    }
    const workersOf = async (pid: number) => {
      const sql = 'select worker_id from concordat.workers where process like $1'
      const { rows } = await database.query<{ worker_id: string }>(sql, [`%:${pid}`])
      return rows.map((row) => row.worker_id)
    }
    return { database, watcher, worker, rowsOf, workersOf }
  }

  it.concurrent('that stands still past its lease, then goes on, can’t write anything any more', async () => {
    const { database, watcher, worker, rowsOf, workersOf } = await arena()
    const workers = [worker(), worker()]
    await Promise.all(workers.map(({ ready }) => ready))
    const handle = await watcher.runs.submit({ tenant: 'default', agent: 'waits for a word' })
    const cameHere = async () => {
      const sql = `select from witness where run_id = $1 and step_key = 'here'`
      return (await database.query(sql, [handle.runId])).rowCount ?? 0
    }
    await until(cameHere, (times) => times === 1)
    const { workerId } = await watcher.runs.get('default', handle.runId)
    const isHolder = await Promise.all(workers.map(async ({ pid }) => (await workersOf(pid)).includes(workerId ?? '')))
    const [frozen, other] = isHolder[0] ? [workers[0]!, workers[1]!] : [workers[1]!, workers[0]!]
    frozen.signal('SIGSTOP')
    await until(cameHere, (times) => times === 2)
    await database.query(`insert into witness values ($1, 'go on', false, false)`, [handle.runId])
    const run = await watcher.ended(handle)
    expect(run).toMatchObject({ status: 'succeeded', output: other.pid, workerLosses: 1 })
    const isPublished = (rows: unknown[][]) => rows[6]?.every((row) => (row as { published_at: unknown }).published_at)
    const before = await until(
      () => rowsOf(handle.runId),
      (rows) => isPublished(rows) === true,
    )

    // It goes on in the step that it was in, is refused, and starts over under a new name.
    frozen.signal('SIGCONT')
    await until(
      () => workersOf(frozen.pid),
      (ids) => ids.length === 1 && ids[0] !== workerId,
    )
    expect(await rowsOf(handle.runId)).toEqual(before)
    other.signal('SIGTERM')
    await other.exited
    const next = await watcher.runs.submit({ tenant: 'default', agent: 'witnessed', input: 3 })
    expect((await watcher.ended(next)).status).toBe('succeeded')
    expect(await rowsOf(handle.runId)).toEqual(before)
    frozen.signal('SIGTERM')
    await frozen.exited
    expect((await database.query('select from concordat.workers')).rowCount).toBe(0)
  })

  it.concurrent('whose event loop is blocked for three leases keeps its run', async () => {
    const { watcher, worker } = await arena()
    const blocked = worker({ LEASE_SECONDS: '2' })
    const other = worker()
    const handle = await watcher.runs.submit({ tenant: 'default', agent: 'blocks', input: 6_500 })
    const run = await watcher.ended(handle)
    expect(run).toMatchObject({ status: 'succeeded', output: 'done', workerLosses: 0, leaseToken: 1 })
    expect(run.activeMs).toBeGreaterThan(6_400)
    for (const each of [blocked, other]) {
      await each.ready
      each.signal('SIGTERM')
      await each.exited
    }
  })
})
