import { describe, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import { describeOnDatabases } from './support/databases.ts'

const works = defineAgent({
  name: 'works',
  version: '1',
  run: ({ step }) => step.record({ kind: 'tool', name: 'answer', input: null, output: 42, costUsd: 0.25 }),
})

describeOnDatabases('runs, as a program asks for them', (open) => {
  it('are listed in the words that `runs.get` has for them', async () => {
    const { runs } = await open({ agents: [works] })
    const run = await runs.submit({ tenant: 'default', agent: 'works' })
    await run.result()
    const { stepCount, costUsd, parked, pause, ...listed } = (await runs.list({ limit: 1 }))[0]!
    expect({ stepCount, costUsd, parked, pause }).toEqual({ stepCount: 1, costUsd: 0.25, parked: false, pause: null })
    expect(await runs.get(null, run.runId)).toMatchObject(listed)
    expect(Object.keys(listed).sort()).toEqual(
      'agent agentVersion createdAt endedAt phase reason runId status tenantId waiting'.split(' '),
    )
  })

  describe('the result of one whose runtime is closed', () => {
    const CLOSED = { code: 'RUNTIME_CLOSED', hint: expect.stringContaining('createConcordat') }

    it('is refused to who waits for it and to who asks later; closed twice is closed', async () => {
      const { concordat } = await open({ agents: [works], started: false })
      const run = await concordat.runs.submit({ tenant: 'default', agent: 'works' })
      const waited = expect(run.result()).rejects.toMatchObject(CLOSED)
      await Promise.all([concordat.close(), concordat.close()])
      await waited
      await expect(run.result()).rejects.toMatchObject(CLOSED)
      await expect(concordat.runs.result('default', run.runId)).rejects.toMatchObject(CLOSED)
      await expect(concordat.runs.list({})).rejects.toMatchObject(CLOSED)
    })

    it('is told all the same where the run has ended elsewhere meanwhile', async () => {
      const { concordat, database } = await open({ agents: [works], started: false })
      const run = await concordat.runs.submit({ tenant: 'default', agent: 'works' })
      const waited = run.result()
      await database.query(`update concordat.runs set phase = 'COMPLETED', outcome = 'succeeded', ended_at = now()`)
      await concordat.close()
      expect(await waited).toBeNull()
    })
  })
})
