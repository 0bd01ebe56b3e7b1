import pg from 'pg'
import { expect, it } from 'vitest'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { CREATE_WITNESS, crashAgents } from '../torture/crash-agents.ts'
import { startWorker } from '../torture/worker-process.ts'
import { closing } from './support/databases.ts'
import { eventCounts, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { until } from './support/until.ts'

const RUNS = 16
const ada = { by: 'ada', as: 'OPERATOR' } as const

describeOnPostgres('pauses of runs whose workers are killed', (server) => {
  const { later, closeLater } = closing()

  it('hold no worker, are lost with none, and are resumed once: no step that was recorded runs again', {
    timeout: 240_000,
  }, async () => {
    const { url, drop } = await createDatabase(server)
    later(drop)
    const database = new pg.Pool({ connectionString: url, max: 2 })
    later(() => database.end())
    await database.query(CREATE_WITNESS)
    const config = { drainTimeoutMs: 0 }
    const watcher = closeLater(
      await createTestRuntime({ databaseUrl: url, agents: crashAgents(database), started: false, config }),
    )
    const worker = () => {
      const started = startWorker(url)
      later(async () => {
        started.signal('SIGKILL')
        await started.exited
      })
      return started
    }
    const count = async (where: string) => {
      const { rows } = await database.query<{ n: number }>(
        `select count(*)::int as n from concordat.runs where ${where}`,
      )
      return rows[0]?.n ?? 0
    }
    const submit = () => watcher.runs.submit({ tenant: 'default', agent: 'witnessed', input: 3 })
    const handles = await Promise.all(Array.from({ length: RUNS }, submit))
    const pause = ({ runId }: { runId: string }) => watcher.runs.pause('default', runId, ada).catch(() => 'too late')
    const resume = ({ runId }: { runId: string }) => watcher.runs.resume('default', runId, ada).catch(() => 'refused')

    // Half of them are to pause at their claim, the others somewhere on the way; the first worker dies in between.
    await Promise.all(handles.filter((_, i) => i % 2 === 0).map(pause))
    const first = worker()
    await first.ready
    const onTheWay = Promise.all(handles.filter((_, i) => i % 2 === 1).map(pause))
    await until(
      () => count('paused'),
      (paused) => paused > 0,
    )
    first.signal('SIGKILL')
    await Promise.all([first.exited, onTheWay])
    const second = worker()
    await until(
      () => count(`paused or phase = 'COMPLETED'`),
      (settled) => settled === RUNS,
    )
    const paused = await count('paused')
    expect(paused).toBeGreaterThanOrEqual(RUNS / 2)
    expect(await count('worker_id is not null')).toBe(0)

    const told = (await Promise.all(handles.flatMap((run) => [resume(run), resume(run)]))).toSorted()
    expect(told.filter((answer) => answer === 'resumed')).toHaveLength(paused)
    second.signal('SIGKILL')
    await second.exited
    await worker().ready
    for (const handle of handles) {
      const ended = await watcher.ended(handle)
      expect(ended).toMatchObject({ status: 'succeeded', output: 3 })
      expect(successAcks(ended)).toEqual(FIVE_ACKS)
      expect(ended.steps.map(({ key }) => key)).toEqual(['work#1', 'work#2', 'nap#1', 'work#3'])
      expect(ended.pauses.every(({ endedHow }) => endedHow === 'RESUMED')).toBe(true)
      const { 'run.paused': began = 0, 'run.resumed': over = 0 } = eventCounts(ended)
      expect([began, over]).toEqual([ended.pauses.length, ended.pauses.length])
    }
    expect((await database.query('select from witness where recorded')).rowCount).toBe(0)
  })
})
