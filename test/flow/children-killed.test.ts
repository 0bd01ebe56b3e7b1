import pg from 'pg'
import { expect, it } from 'vitest'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { CREATE_WITNESS, crashAgents } from '../torture/crash-agents.ts'
import { seeded } from '../torture/random.ts'
import { startWorker } from '../torture/worker-process.ts'
import { closing } from './support/databases.ts'

const PARENTS = 6
const CHILDREN_EACH = 3
const KILLS = 3

describeOnPostgres('runs that start runs, whose workers are killed', (server) => {
  const { later, closeLater } = closing()

  it('start each of them once, and get what each returns', async ({ annotate }) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
    await annotate(`SEED=${seed}`)
    const random = seeded(seed)
    const { url, drop } = await createDatabase(server)
    later(drop)
    const witness = new pg.Pool({ connectionString: url, max: 2 })
    later(() => witness.end())
    await witness.query(CREATE_WITNESS)
    const watcher = closeLater(
      await createTestRuntime({ databaseUrl: url, agents: crashAgents(witness), started: false }),
    )
    const workers = [startWorker(url), startWorker(url)]
    later(async () => {
      for (const worker of workers) worker.signal('SIGKILL')
      await Promise.all(workers.map(({ exited }) => exited))
    })
    await Promise.all(workers.map(({ ready }) => ready))
    const submit = () => watcher.runs.submit({ tenant: 'default', agent: 'family', input: CHILDREN_EACH })
    const handles = await Promise.all(Array.from({ length: PARENTS }, submit))
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, random() * 400))
      const index = kill % workers.length
      workers[index]!.signal('SIGKILL')
      workers[index] = startWorker(url)
      await workers[index]!.ready
    }
    const runs = await Promise.all(handles.map((handle) => watcher.ended(handle)))
    for (const run of runs) {
      const steps = run.children.map(({ stepKey }) => stepKey).toSorted()
      const expected = [...Array.from({ length: CHILDREN_EACH }, (_, i) => `witnessed#${i + 1}`), 'last#1'].toSorted()
      expect(steps, `SEED=${seed}`).toEqual(expected)
      // A child whose worker was killed in a step that may have acted fails, and its parent with it.
      if (run.status === 'succeeded') expect(run.output, `SEED=${seed}`).toEqual([1, 2, 3, 2])
      expect(run.children.some(({ status }) => status === 'running' || status === 'queued')).toBe(false)
    }
    expect(
      runs.every(({ status }) => status === 'succeeded'),
      `SEED=${seed}`,
    ).toBe(true)
  })
})
