import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import { createTestRuntime, type RunRef, type TestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing } from './support/databases.ts'
import { eventCounts, eventsOfEnded } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()
const ran = new Map<string, number>()

const sleeps = defineAgent({ name: 'sleeps', version: '1', run: ({ step }) => step.sleep('long', 3_600_000) })

const works = defineAgent<string>({
  name: 'works',
  version: '1',
  async run({ input, step }) {
    await step.do('first', () => gates.at(input).pass())
    return step.do('last', () => void ran.set(input, (ran.get(input) ?? 0) + 1))
  },
})

const naps = defineAgent<string>({
  name: 'naps',
  version: '1',
  async run({ input, step }) {
    await step.do('first', () => gates.at(input).pass())
    await step.sleep('nap', 3_600_000)
  },
})

describeOnPostgres('pauses', (server) => {
  const { later, closeLater } = closing()
  let runtime: TestRuntime
  let other: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    ran.clear()
    const { url, drop } = await createDatabase(server)
    later(drop)
    const agents = [sleeps, works, naps]
    runtime = closeLater(await createTestRuntime({ databaseUrl: url, agents }))
    other = closeLater(await createTestRuntime({ databaseUrl: url, agents }))
  })

  const ada = { by: 'ada', as: 'OPERATOR' } as const
  const get = ({ runId }: RunRef) => runtime.runs.get('default', runId)
  const submit = (agent: string, input: string | null = null) =>
    runtime.runs.submit({ tenant: 'default', agent, input })
  const pause = ({ runId }: RunRef, by = runtime) => by.runs.pause('default', runId, ada)
  const resume = ({ runId }: RunRef, by = runtime) => by.runs.resume('default', runId, ada)
  const stop = ({ runId }: RunRef, by = runtime) => by.runs.stop('default', runId)
  const asleep = async () => {
    const run = await submit('sleeps')
    await until(
      () => get(run),
      ({ waiting }) => waiting === 'TIMER',
    )
    return run
  }
  /** Asks for a pause, and waits until its worker begins no other step. */
  const delivered = async (run: RunRef) => {
    await pause(run)
    await until(
      () => get(run),
      ({ pauseRequest }) => pauseRequest?.deliveredAt !== undefined,
    )
  }
  const outcome = (result: PromiseSettledResult<string>) =>
    result.status === 'fulfilled' ? result.value : (result.reason as { code: string }).code

  it('resumed by two processes at the same time: one of them did it, the other is told, the step runs once', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `twice ${i}`)
    const runs = await Promise.all(names.map((name) => submit('works', name)))
    for (const [i, name] of names.entries()) {
      await gates.at(name).reached
      await delivered(runs[i] as RunRef)
      gates.at(name).open()
    }
    for (const run of runs) {
      await until(
        () => get(run),
        ({ status }) => status === 'paused',
      )
    }
    const told = await Promise.all(
      runs.map(async (run) => (await Promise.allSettled([resume(run), resume(run, other)])).map(outcome).toSorted()),
    )
    expect(told).toEqual(runs.map(() => ['RUN_NOT_PAUSED', 'resumed']))
    for (const [i, run] of runs.entries()) {
      const ended = await runtime.ended(run)
      expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.completed'), 'run.paused': 1, 'run.resumed': 1 })
      expect(ran.get(names[i] as string)).toBe(1)
    }
  })

  it('resumed and stopped and paused at once: the stop ends the run, and each is told what became of it', async () => {
    const runs = await Promise.all(Array.from({ length: 20 }, asleep))
    await Promise.all(runs.map((run) => pause(run)))
    const told = await Promise.all(
      runs.map(async (run) => {
        const results = await Promise.allSettled([resume(run), stop(run, other), pause(run, other)])
        return results.map(outcome)
      }),
    )
    for (const [i, run] of runs.entries()) {
      const ended = await runtime.ended(run)
      const [resumed, stopped, pausedAgain] = told[i] ?? []
      expect(['resumed', 'RUN_NOT_PAUSED']).toContain(resumed)
      expect(['cancelled', 'requested']).toContain(stopped)
      expect(['paused', 'requested', 'RUN_PAUSED', 'RUN_ENDED']).toContain(pausedAgain)
      expect(ended).toMatchObject({ status: 'cancelled', paused: false, dueAt: null, readyAt: null })
      expect(ended.pauses.every(({ endedAt }) => endedAt !== null)).toBe(true)
      const resumes = ended.pauses.filter(({ endedHow }) => endedHow === 'RESUMED').length
      expect(resumes, JSON.stringify(told[i])).toBe(resumed === 'resumed' ? 1 : 0)
      const { 'run.resumed': announced = 0, 'run.failed': failed } = eventCounts(ended)
      expect([announced, failed]).toEqual([resumes, 1])
    }
  })

  it('asked for while the run goes to sleep: it is paused, and not first after its sleep', async () => {
    const run = await submit('naps', 'release')
    await gates.at('release').reached
    const held = runtime.database.pauseAt('runs_release')
    const heldThere = other.database.pauseAt('runs_release')
    gates.at('release').open()
    await Promise.race([held.reached, heldThere.reached])
    expect(await pause(run)).toBe('requested')
    held.resume()
    heldThere.resume()
    const paused = await until(
      () => get(run),
      ({ status }) => status === 'paused',
    )
    expect(paused).toMatchObject({ waiting: null, pauseRequest: null, pauses: [{ reason: 'MANUAL_PAUSE' }] })
  })

  it('taken back while the worker pauses the run: it goes on from its recorded steps', async () => {
    const run = await submit('works', 'withdrawn')
    await gates.at('withdrawn').reached
    const held = [runtime, other].map(({ database }) => database.pauseAt('runs_pause_requested'))
    await delivered(run)
    gates.at('withdrawn').open()
    await Promise.race(held.map(({ reached }) => reached))
    expect(await resume(run)).toBe('withdrawn')
    for (const point of held) point.resume()
    expect(await runtime.ended(run)).toMatchObject({ status: 'succeeded', pauses: [] })
    expect(ran.get('withdrawn')).toBe(1)
  })

  it('crossed by a stop while the worker pauses the run: it is stopped, and was never paused', async () => {
    const run = await submit('works', 'crossed')
    await gates.at('crossed').reached
    const held = [runtime, other].map(({ database }) => database.pauseAt('runs_pause_requested'))
    await delivered(run)
    gates.at('crossed').open()
    await Promise.race(held.map(({ reached }) => reached))
    expect(await stop(run)).toBe('requested')
    for (const point of held) point.resume()
    expect(await runtime.ended(run)).toMatchObject({ status: 'cancelled', pauses: [], reason: 'RUN_STOPPED' })
  })

  const failOnce = (statement: string, mine: string) => {
    let failed = false
    return runtime.database.intercept((call) => {
      if (failed || call.statement !== statement || !(call.before.includes(mine) || statement === mine)) return
      failed = true
      throw new Error('injected')
    })
  }

  it.each([
    ['runs_request_pause', 'nothing'],
    ['pauses_insert', 'nothing'],
    ['outbox_append', 'nothing'],
    ['commit', 'nothing'],
    ['committed', 'all'],
  ])('that fail at %s leave %s', async (statement, left) => {
    const run = await asleep()
    const heal = failOnce(statement, 'runs_request_pause')
    await expect(pause(run)).rejects.toThrow('injected')
    heal()
    const after = await get(run)
    const events = eventCounts(after)['run.paused'] ?? 0
    const all = left === 'all'
    expect([after.status, after.pauses.length, events]).toEqual(all ? ['paused', 1, 1] : ['running', 0, 0])
    if (!all) expect(await pause(run)).toBe('paused')
  })

  it.each([
    ['runs_lock_for_resume', 'nothing'],
    ['runs_resume', 'nothing'],
    ['pauses_end', 'nothing'],
    ['outbox_append', 'nothing'],
    ['commit', 'nothing'],
    ['committed', 'all'],
  ])('whose resume fails at %s: %s of it is done', async (statement, left) => {
    const run = await asleep()
    await pause(run)
    const heal = failOnce(statement, 'runs_lock_for_resume')
    await expect(resume(run)).rejects.toThrow('injected')
    heal()
    const after = await get(run)
    const events = eventCounts(after)['run.resumed'] ?? 0
    const all = left === 'all'
    expect([after.paused, after.pauses[0]?.endedHow, events]).toEqual(all ? [false, 'RESUMED', 1] : [true, null, 0])
    if (!all) expect(await resume(run)).toBe('resumed')
  })

  it.each(['pauses_open', 'runs_paused_move', 'runs_paused_seize', 'pauses_end', 'commit', 'committed'])(
    'whose end fails at %s: it is tried again, and the run ends once',
    async (statement) => {
      const run = await asleep()
      await pause(run)
      const heals = [runtime, other].map(({ database }) => {
        let failed = false
        return database.intercept((call) => {
          if (failed || call.statement !== statement || !call.before.includes('runs_paused_due')) return
          failed = true
          throw new Error('injected')
        })
      })
      const over = `timeout_at = now() - interval '1 s', warn_at = null`
      await runtime.database.query(`update concordat.pauses set ${over} where run_id = $1`, [run.runId])
      await runtime.database.query('update concordat.runs set due_at = now() where run_id = $1', [run.runId])
      if (statement === 'committed') {
        // The sweep that died after its commit completes nothing: whoever looks after takeovers does, once it is due.
        await until(
          () => get(run),
          ({ pending }) => pending !== null,
        )
        await runtime.database.query('update concordat.runs set due_at = now() where run_id = $1', [run.runId])
      }
      const ended = await runtime.ended(run)
      for (const heal of heals) heal()
      expect(ended).toMatchObject({
        status: 'failed_policy',
        reason: 'PAUSE_TIMEOUT',
        pauses: [{ endedHow: 'TIMED_OUT' }],
      })
      expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.failed'), 'run.paused': 1 })
    },
  )
})
