import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks, walked } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()
/** How often the code of each step ran, by run and step. */
const ran = new Map<string, number>()
const count = (key: string) => ran.set(key, (ran.get(key) ?? 0) + 1)

/** Three steps, the second held at a gate; `aborted` tells whether it was. */
const three = defineAgent<string>({
  name: 'three',
  version: '1',
  async run({ input, step }) {
    await step.do('first', () => void count(`${input} first`))
    const aborted = await step.do('second', async ({ signal }) => {
      count(`${input} second`)
      await gates.at(input).pass()
      return signal.aborted
    })
    await step.do('third', () => void count(`${input} third`))
    return { aborted }
  },
})

const beside = defineAgent<string>({
  name: 'beside',
  version: '1',
  async run({ input, step }) {
    const held = (name: string) => step.do(name, () => gates.at(`${input} ${name}`).pass(), { sideEffects: false })
    await Promise.all([held('a').then(() => step.do('after a', () => void count(`${input} after a`))), held('b')])
    return 'both'
  },
})

const returns = defineAgent<string>({
  name: 'returns',
  version: '1',
  async run({ input, step }) {
    await step.do('only', () => gates.at(input).pass())
    return 'done'
  },
})

const sleeps = defineAgent<number>({
  name: 'sleeps',
  version: '1',
  run: async ({ input, step }) => {
    await step.sleep('nap', input)
    return 'rested'
  },
})

const retries = defineAgent({
  name: 'retries',
  version: '1',
  run: ({ step }) =>
    step.do(
      'flaky',
      ({ attempt }) => {
        if (attempt === 1) throw new Error('not yet')
        return 'at last'
      },
      { retry: { maxAttempts: 2, baseMs: 3_600_000, capMs: 3_600_000 } },
    ),
})

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })

describeOnDatabases('a run that a person pauses', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    ran.clear()
    runtime = await open({ agents: [three, beside, returns, sleeps, retries, works] })
  })

  const submit = (agent: string, request: object = {}) => runtime.runs.submit({ tenant: 'default', agent, ...request })
  const get = ({ runId }: RunRef) => runtime.runs.get('default', runId)
  const ada = { by: 'ada', as: 'TENANT_USER' } as const
  const pause = ({ runId }: RunRef, why = 'lunch') => runtime.runs.pause('default', runId, { ...ada, why })
  const resume = ({ runId }: RunRef) => runtime.runs.resume('default', runId, { ...ada, note: 'back' })
  const paused = (run: RunRef) =>
    until(
      () => get(run),
      ({ status }) => status === 'paused',
    )

  /** From here on its worker begins no other step. */
  const delivered = (run: RunRef) =>
    until(
      () => get(run),
      ({ pauseRequest }) => pauseRequest?.deliveredAt !== undefined,
    )

  it('in a step: the step ends and is kept, the next one does not begin; resumed, it goes on from there', async () => {
    const handle = await submit('three', { input: 'in-step' })
    await gates.at('in-step').reached
    expect(await pause(handle)).toBe('requested')
    expect((await delivered(handle)).pauseRequest).toMatchObject({ by: 'ada', as: 'TENANT_USER', why: 'lunch' })
    gates.at('in-step').open()
    const before = await paused(handle)
    expect(before).toMatchObject({
      phase: 'EXECUTING',
      workerId: null,
      waiting: null,
      readyAt: null,
      pauseRequest: null,
    })
    expect(before.steps.map(({ key, status }) => [key, status])).toEqual([
      ['first#1', 'succeeded'],
      ['second#1', 'succeeded'],
    ])
    expect(before.pauses).toMatchObject([
      { reason: 'MANUAL_PAUSE', message: 'lunch', pausedBy: 'ada', pausedAs: 'TENANT_USER', endedAt: null },
    ])
    expect(before.pauses[0]?.resumableBy).toEqual(['TENANT_USER', 'TENANT_ADMIN', 'API_KEY_OWNER', 'OPERATOR'])

    expect(await resume(handle)).toBe('resumed')
    const ended = await runtime.ended(handle)
    expect(ended).toMatchObject({ status: 'succeeded', output: { aborted: false } })
    expect(['first', 'second', 'third'].map((step) => ran.get(`in-step ${step}`))).toEqual([1, 1, 1])
    expect(ended.pauses).toMatchObject([
      { endedHow: 'RESUMED', resumedBy: 'ada', resumedAs: 'TENANT_USER', note: 'back' },
    ])
    expect(ended.policiesAsOf).not.toBeNull()
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.completed'), 'run.paused': 1, 'run.resumed': 1 })
    const [pausedEvent, resumedEvent] = ended.events.filter(({ type }) => /paused|resumed/.test(type))
    const { pauseId } = ended.pauses[0] ?? {}
    expect(pausedEvent?.data).toMatchObject({ pauseId, reason: 'MANUAL_PAUSE', message: 'lunch', ...ada })
    expect(resumedEvent?.data).toEqual({ pauseId, reason: 'MANUAL_PAUSE', note: 'back', ...ada })
  })

  it('in steps side by side: all of them end and are kept', async () => {
    const handle = await submit('beside', { input: 'side' })
    await Promise.all(['a', 'b'].map((name) => gates.at(`side ${name}`).reached))
    await pause(handle)
    await delivered(handle)
    gates.at('side a').open()
    await until(
      () => get(handle),
      ({ steps }) => steps.some(({ key }) => key === 'a#1'),
    )
    expect(await get(handle)).toMatchObject({ status: 'running' })
    gates.at('side b').open()
    expect((await paused(handle)).steps.map(({ key }) => key)).toEqual(['a#1', 'b#1'])
    expect(ran.get('side after a')).toBeUndefined()
    await resume(handle)
    expect(await runtime.ended(handle)).toMatchObject({ status: 'succeeded', output: 'both' })
    expect(ran.get('side after a')).toBe(1)
  })

  it('in its last step: it simply ends', async () => {
    const handle = await submit('returns', { input: 'last' })
    await gates.at('last').reached
    expect(await pause(handle)).toBe('requested')
    gates.at('last').open()
    const ended = await runtime.ended(handle)
    expect(ended).toMatchObject({ status: 'succeeded', output: 'done', pauses: [] })
    await expect(resume(handle)).rejects.toMatchObject({ code: 'RUN_NOT_PAUSED', details: { status: 'succeeded' } })
    await expect(pause(handle)).rejects.toMatchObject({ code: 'RUN_ENDED', details: { status: 'succeeded' } })
  })

  it('while queued: it stays queued, and is paused when it is claimed, before its first step', async () => {
    const handle = await submit('works', { runAt: new Date(Date.now() + 500) })
    expect(await pause(handle)).toBe('requested')
    expect((await get(handle)).status).toBe('queued')
    const before = await paused(handle)
    expect(before.steps).toEqual([])
    expect(walked(before)).toEqual(['→CREATED', 'CREATED→AUTHORIZED', 'AUTHORIZED→EXECUTING'])
    await resume(handle)
    expect(await runtime.ended(handle)).toMatchObject({ status: 'succeeded', output: 42 })
  })

  it('while queued, and thinks better of it: nothing was paused', async () => {
    const handle = await submit('works', { runAt: new Date(Date.now() + 500) })
    await pause(handle)
    await expect(pause(handle)).rejects.toMatchObject({ code: 'RUN_PAUSED', message: expect.stringContaining('ada') })
    expect(await resume(handle)).toBe('withdrawn')
    const ended = await runtime.ended(handle)
    expect(ended).toMatchObject({ status: 'succeeded', pauses: [] })
    expect(eventCounts(ended)).toEqual(eventsOfEnded('run.completed'))
  })

  const inSleep = async (handle: RunRef) =>
    until(
      () => get(handle),
      ({ waiting }) => waiting === 'TIMER',
    )

  it('in a sleep: at once; it does not wake while it is paused, and is awake at once when its sleep is over', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    await inSleep(handle)
    expect(await pause(handle)).toBe('paused')
    await runtime.database.query('update concordat.steps set due_at = now() where run_id = $1', [handle.runId])
    await runtime.ended(await submit('sleeps', { input: 1 }))
    expect(await get(handle)).toMatchObject({ status: 'paused', workerId: null, readyAt: null })
    await resume(handle)
    expect(await runtime.ended(handle)).toMatchObject({ status: 'succeeded', output: 'rested' })
  })

  it('in a sleep that is not over when it is resumed: it sleeps on until its time', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    const { dueAt } = await inSleep(handle)
    await pause(handle)
    await resume(handle)
    expect((await inSleep(handle)).dueAt).toEqual(dueAt)
  })

  it('between two tries of a step: at once; resumed, it waits for the next try', async () => {
    const handle = await submit('retries')
    const waiting = await until(
      () => get(handle),
      ({ waiting }) => waiting === 'RETRY',
    )
    expect(await pause(handle)).toBe('paused')
    await resume(handle)
    const again = await until(
      () => get(handle),
      ({ waiting }) => waiting === 'RETRY',
    )
    expect(again).toMatchObject({ dueAt: waiting.dueAt, steps: waiting.steps })
  })

  it('twice: the second is refused, and so is a second resume, with the state', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    await until(
      () => get(handle),
      ({ waiting }) => waiting === 'TIMER',
    )
    await pause(handle)
    await expect(pause(handle)).rejects.toMatchObject({ code: 'RUN_PAUSED', details: { status: 'paused' } })
    await resume(handle)
    const second = expect.stringMatching(/is not paused: it is running .*; ada resumed it as TENANT_USER at/)
    await expect(resume(handle)).rejects.toMatchObject({ code: 'RUN_NOT_PAUSED', message: second })
    expect((await get(handle)).pauses).toHaveLength(1)
  })

  it('and stops: it ends at once, and the pause with it', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    await until(
      () => get(handle),
      ({ waiting }) => waiting === 'TIMER',
    )
    await pause(handle)
    expect(await runtime.runs.stop('default', handle.runId, { by: 'bob' })).toBe('cancelled')
    const ended = await runtime.ended(handle)
    expect(endingOf(ended)).toMatchObject({
      status: 'cancelled',
      phase: 'FAILED',
      reason: 'RUN_STOPPED',
      trace: 'ABORTED',
    })
    expect(ended.pauses).toMatchObject([{ endedHow: 'STOPPED', resumedBy: null }])
    expect(ended).toMatchObject({ dueAt: null, readyAt: null })
    await expect(resume(handle)).rejects.toMatchObject({ code: 'RUN_NOT_PAUSED', details: { status: 'cancelled' } })
  })

  it('as somebody who may not: refused', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    await until(
      () => get(handle),
      ({ waiting }) => waiting === 'TIMER',
    )
    const by = (as: string) => runtime.runs.pause('default', handle.runId, { by: 'ada', as: as as 'OPERATOR' })
    await expect(by('SYSTEM_AUTO')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(by('ROOT')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(runtime.runs.pause('other', handle.runId, ada)).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' })
    expect(await get(handle)).toMatchObject({ status: 'running', pauses: [] })
  })

  it('for long: the pause counts neither for its deadline nor for its contract', async () => {
    const handle = await submit('sleeps', { input: 3_600_000 })
    await until(
      () => get(handle),
      ({ waiting }) => waiting === 'TIMER',
    )
    await pause(handle)
    const { activeMs } = await get(handle)
    await runtime.database.query(
      `update concordat.runs set execution_started_at = execution_started_at - interval '1 day' where run_id = $1`,
      [handle.runId],
    )
    const later = await get(handle)
    expect(later.activeMs).toBe(activeMs)
    expect(later.expectations.find(({ action }) => action === 'finalize_run')).toMatchObject({
      dueAt: null,
      overdue: false,
    })
    const report = await runtime.concordat.audit.reconcile('default', handle.runId)
    expect(report).toMatchObject({ result: 'COMPLETE' })
  })
})
