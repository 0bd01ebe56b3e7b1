import { expect, it } from 'vitest'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { crashAgents } from '../torture/crash-agents.ts'
import { seeded } from '../torture/random.ts'
import { startWorker } from '../torture/worker-process.ts'
import { closing } from './support/databases.ts'

const RUNS = 12
const SIGNALS_EACH = 3
const KILLS = 2

describeOnPostgres('signals to runs whose workers are killed', (server) => {
  const { later, closeLater } = closing()

  it('are each taken once, in the order in which they were sent', async ({ annotate }) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
    await annotate(`SEED=${seed}`)
    const random = seeded(seed)
    const { url, drop } = await createDatabase(server)
    later(drop)
    const agents = crashAgents(undefined as never)
    const sender = closeLater(await createTestRuntime({ databaseUrl: url, agents, started: false }))
    const workers = [startWorker(url), startWorker(url)]
    later(async () => {
      for (const worker of workers) worker.signal('SIGKILL')
      await Promise.all(workers.map(({ exited }) => exited))
    })
    await Promise.all(workers.map(({ ready }) => ready))
    const submit = () => sender.runs.submit({ tenant: 'default', agent: 'signalled', input: SIGNALS_EACH })
    const handles = await Promise.all(Array.from({ length: RUNS }, submit))
    const sent = new Map(handles.map(({ runId }) => [runId, 0]))
    let kills = 0
    for (let round = 0; round < RUNS * SIGNALS_EACH; round++) {
      const open = handles.filter(({ runId }) => (sent.get(runId) ?? 0) < SIGNALS_EACH)
      const { runId } = open[Math.floor(random() * open.length)]!
      const number = (sent.get(runId) ?? 0) + 1
      sent.set(runId, number)
      // Some are sent twice at once: whichever comes first counts.
      const send = () => sender.runs.signal('default', runId, 'go', number, { id: `signal ${number}` })
      await Promise.all(random() < 0.3 ? [send(), send()] : [send()])
      if (kills < KILLS && random() < 0.1) {
        const worker = kills++ % workers.length
        workers[worker]!.signal('SIGKILL')
        workers[worker] = startWorker(url)
      }
    }
    const runs = await Promise.all(handles.map((handle) => sender.ended(handle)))
    const inOrder = Array.from({ length: SIGNALS_EACH }, (_, i) => i + 1)
    expect(
      runs.map(({ output }) => output),
      `SEED=${seed}`,
    ).toEqual(handles.map(() => inOrder))
    const states = runs.flatMap(({ signals }) => signals.map(({ state, stepKey }) => `${state} ${stepKey}`))
    const expected = inOrder.map((number) => `delivered go#${number}`)
    expect(states, `SEED=${seed}`).toEqual(handles.flatMap(() => expected))
  })
})
