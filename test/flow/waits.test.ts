import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineAgent, type StepApi } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

type Script = (step: StepApi) => unknown

/** Agents by a script that the test names in the input: each test says itself what its run does. */
const scripts = new Map<string, Script>()
const scripted = defineAgent<string>({
  name: 'scripted',
  version: '1',
  run: ({ input, step }) => scripts.get(input)?.(step),
})

const payment = z.object({ amount: z.number().positive(), currency: z.string().default('EUR') })
const codeOf = (error: { code?: string }) => error.code

describeOnDatabases('a step that waits for a signal', (open) => {
  let runtime: TestRuntime
  let scriptCount = 0
  beforeAll(async () => {
    runtime = await open({ agents: [scripted] })
    await runtime.concordat.tenants.put({ tenantId: 'other' })
  })

  const submit = (script: Script, more: object = {}) => {
    const name = `script ${scriptCount++}`
    scripts.set(name, script)
    return runtime.runs.submit({ tenant: 'default', agent: 'scripted', input: name, ...more })
  }
  type Handle = Awaited<ReturnType<typeof submit>>
  const now = ({ runId }: Handle) => runtime.runs.get('default', runId)
  const send = ({ runId }: Handle, name: string, payload?: Parameters<TestRuntime['runs']['signal']>[3], more = {}) => {
    return runtime.runs.signal('default', runId, name, payload, { by: 'ada', ...more })
  }
  const waiting = (handle: Handle) =>
    until(
      () => now(handle),
      (run) => run.waiting === 'SIGNAL',
    )
  const waitingFor = async (script: Script) => {
    const handle = await submit(script)
    await waiting(handle)
    return handle
  }

  it('holds no slot, and goes on with the signal’s payload', async () => {
    const handle = await waitingFor((step) => step.waitFor('payment', { timeout: 60_000 }))
    expect(await now(handle)).toMatchObject({
      status: 'running',
      workerId: null,
      steps: [{ key: 'payment#1', kind: 'signal', status: 'waiting' }],
      waits: [{ stepKey: 'payment#1', name: 'payment', schema: null }],
    })
    expect(runtime.concordat.worker.active).toBe(0)
    expect(await send(handle, 'payment', { amount: 3 })).toMatchObject({ state: 'delivered', deduplicated: false })
    const ended = await runtime.ended(handle)
    expect(ended.output).toEqual({ amount: 3 })
    expect(ended.steps).toMatchObject([{ key: 'payment#1', status: 'succeeded', attributes: { by: 'ada' } }])
    expect(ended.signals).toMatchObject([{ name: 'payment', state: 'delivered', stepKey: 'payment#1', by: 'ada' }])
    expect(ended.waits).toEqual([])
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS', trace: 'COMPLETE' })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(eventCounts(ended)).toEqual(eventsOfEnded('run.completed'))
  })

  it('gets what came before it waited: the first wait the first signal, each once', async () => {
    const handle = await submit(
      async (step) => [await step.waitFor('go'), await step.waitFor('other'), await step.waitFor('go')],
      { runAt: new Date(Date.now() + 300) },
    )
    const states = [await send(handle, 'go', 1), await send(handle, 'go', 2), await send(handle, 'other', 'x')]
    expect(states.map(({ state }) => state)).toEqual(['kept', 'kept', 'kept'])
    const ended = await runtime.ended(handle)
    expect(ended.output).toEqual([1, 'x', 2])
    expect(ended.signals.map(({ stepKey }) => stepKey)).toEqual(['go#1', 'go#2', 'other#1'])
  })

  it('gets one signal each where several wait for the same name at once', async () => {
    const handle = await waitingFor((step) => Promise.all([1, 2, 3].map(() => step.waitFor('go'))))
    for (const each of ['a', 'b', 'c']) expect((await send(handle, 'go', each)).state).toBe('delivered')
    expect((await runtime.ended(handle)).output).toEqual(['a', 'b', 'c'])
  })

  it('gets the payload as its schema makes it, again on every resume', async () => {
    const handle = await waitingFor(async (step) => {
      const first = await step.waitFor('payment', { schema: payment })
      await step.sleep('nap', 20)
      return `${first.amount} ${first.currency}`
    })
    await send(handle, 'payment', { amount: 5 })
    const ended = await runtime.ended(handle)
    expect(ended.output).toBe('5 EUR')
    expect(ended.steps[0]?.output).toEqual({ amount: 5 })
  })

  it.each([
    ['zod', payment],
    [
      'JSON Schema',
      { type: 'object', properties: { amount: { type: 'number', exclusiveMinimum: 0 } }, required: ['amount'] },
    ],
  ])('refuses to the sender what does not fit its schema of %s, and waits on', async (_, schema) => {
    const handle = await waitingFor((step) => step.waitFor<object>('payment', { schema: schema as z.ZodType<object> }))
    const refused = send(handle, 'payment', { amount: -1 })
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_INPUT', message: expect.stringContaining('amount') })
    expect((await now(handle)).signals).toEqual([])
    await send(handle, 'payment', { amount: 1 })
    expect((await runtime.ended(handle)).output).toMatchObject({ amount: 1 })
  })

  it('refuses what was kept for it and does not fit, says why, and takes the next', async () => {
    const handle = await submit((step) => step.waitFor('payment', { schema: payment }), {
      runAt: new Date(Date.now() + 300),
    })
    await send(handle, 'payment', { amount: 'much' }, { id: 'first' })
    await send(handle, 'payment', { amount: 7 })
    const ended = await runtime.ended(handle)
    expect(ended.output).toEqual({ amount: 7, currency: 'EUR' })
    expect(ended.signals).toMatchObject([
      { state: 'refused', stepKey: 'payment#1', refusal: expect.stringContaining('amount') },
      { state: 'delivered', stepKey: 'payment#1' },
    ])
    expect(await send(handle, 'payment', { amount: 'much' }, { id: 'first' })).toMatchObject({ state: 'refused' })
  })

  it('refuses what only its own check finds wrong, and waits on', async () => {
    const even = z.number().refine((n) => n % 2 === 0, { error: 'must be even' })
    const handle = await waitingFor((step) => step.waitFor('number', { schema: even }))
    await send(handle, 'number', 3)
    const refused = await until(
      () => now(handle),
      ({ signals }) => signals[0]?.state === 'refused',
    )
    expect(refused.signals).toMatchObject([{ refusal: expect.stringContaining('must be even') }])
    await send(handle, 'number', 4)
    expect((await runtime.ended(handle)).output).toBe(4)
  })

  it('counts a signal once that is sent again under its id, also after the run has ended', async () => {
    const handle = await waitingFor(async (step) => [await step.waitFor('go'), await step.waitFor('go')])
    const first = await send(handle, 'go', 1, { id: 'order-1' })
    const again = await Promise.all([1, 2].map(() => send(handle, 'go', 1, { id: 'order-1' })))
    expect(again).toEqual([
      { ...first, deduplicated: true },
      { ...first, deduplicated: true },
    ])
    await expect(send(handle, 'go', 2, { id: 'order-1' })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' })
    await expect(send(handle, 'stop', 1, { id: 'order-1' })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' })
    await send(handle, 'go', 2, { id: 'order-2' })
    expect((await runtime.ended(handle)).output).toEqual([1, 2])
    expect(await send(handle, 'go', 1, { id: 'order-1' })).toEqual({ ...first, deduplicated: true })
  })

  it('fails when its time is over; the agent can catch that and wait again', async () => {
    const handle = await submit(async (step) => {
      const late = await step.waitFor('go', { timeout: 30 }).catch(codeOf)
      return [late, await step.waitFor('go', { timeout: 60_000 })]
    })
    await until(
      () => now(handle),
      ({ waits }) => waits[0]?.stepKey === 'go#2',
    )
    await send(handle, 'go', 'late')
    const ended = await runtime.ended(handle)
    expect(ended.output).toEqual(['WAIT_TIMED_OUT', 'late'])
    expect(ended.signals).toMatchObject([{ stepKey: 'go#2' }])
  })

  it('that nobody answers fails its run', async () => {
    const ended = await runtime.ended(await submit((step) => step.waitFor('go', { timeout: 20 })))
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'WAIT_TIMED_OUT', incident: 'FAILURE' })
  })

  it('gets a signal that came in time though nobody was there to run on', async () => {
    const handle = await waitingFor((step) => step.waitFor('go', { timeout: 700 }))
    await runtime.concordat.stop()
    await send(handle, 'go', 'in time')
    await runtime.database.query(`update concordat.waits set due_at = clock_timestamp() where run_id = $1`, [
      handle.runId,
    ])
    expect((await send(handle, 'go', 'late')).state).toBe('kept')
    await runtime.start()
    expect((await runtime.ended(handle)).output).toBe('in time')
  })

  it('beside a sleep that ends later is answered at once', async () => {
    const handle = await submit((step) => Promise.race([step.sleep('nap', 60_000), step.waitFor('go')]))
    await until(
      () => now(handle),
      ({ waiting, waits }) => waiting !== null && waits.length === 1,
    )
    await send(handle, 'go', 'soon')
    expect((await runtime.ended(handle)).output).toBe('soon')
  })

  it('is stopped at once, and its run takes no signals any more', async () => {
    const handle = await waitingFor((step) => step.waitFor('go'))
    expect(await runtime.runs.stop('default', handle.runId)).toBe('cancelled')
    expect(endingOf(await runtime.ended(handle))).toMatchObject({ status: 'cancelled' })
    await expect(send(handle, 'go')).rejects.toMatchObject({ code: 'RUN_ENDED', details: { status: 'cancelled' } })
  })

  it('of a plan: the skill wait_for gives the payload to later steps', async () => {
    const plan = {
      steps: [
        {
          skill: 'wait_for',
          name: 'answer',
          params: { schema: { type: 'object', required: ['name'] }, timeoutMs: 60_000 },
        },
        { skill: 'json_transform', params: { expression: '"Hello, " & name', input: '{{ steps.answer.output }}' } },
      ],
    }
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'plan', input: { plan, input: null } })
    await waiting(handle)
    await expect(send(handle, 'answer', {})).rejects.toMatchObject({ code: 'INVALID_INPUT' })
    await send(handle, 'answer', { name: 'Ada' })
    expect((await runtime.ended(handle)).output).toBe('Hello, Ada')
  })

  describe('asks and senders that are wrong:', () => {
    it('another tenant’s run looks like none, and so does one that was never there', async () => {
      const handle = await waitingFor((step) => step.waitFor('go'))
      const { runs } = runtime
      for (const [tenant, run] of [
        ['other', handle.runId],
        ['default', handle.runId.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))],
        ['default', 'no id'],
      ] as const) {
        await expect(runs.signal(tenant, run, 'go')).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' })
      }
      await runs.stop('default', handle.runId)
    })

    it('names, ids and payloads that can’t be kept are refused', async () => {
      const handle = await waitingFor((step) => step.waitFor('go'))
      const wrong = [
        ['INVALID_REQUEST', '', null],
        ['INVALID_REQUEST', 'a\0', null],
        ['INVALID_REQUEST', 'go', null, { id: '' }],
        ['INPUT_TOO_LARGE', 'go', 'x'.repeat(1_048_576)],
        ['NOT_SERIALIZABLE', 'go', [Number.NaN]],
      ] as const
      for (const [code, name, payload, more] of wrong) {
        await expect(send(handle, name, payload, more)).rejects.toMatchObject({ code })
      }
      await runtime.runs.stop('default', handle.runId)
    })

    it('more than a run keeps is refused, what it waits for is not', async () => {
      const handle = await waitingFor((step) => step.waitFor('go'))
      await runtime.database.query(
        `insert into concordat.signals (tenant_id, run_id, number, signal_id, name, state, sent_by, received_at, payload_digest, payload_size, payload)
         select 'default', $1, n, n, 'never', 'kept', 'ada', now(), '', 4, 'null' from generate_series(1, 1000) as n`,
        [handle.runId],
      )
      await runtime.database.query(`update concordat.runs set signal_count = 1000 where run_id = $1`, [handle.runId])
      await expect(send(handle, 'never')).rejects.toMatchObject({ code: 'TOO_MANY_SIGNALS' })
      await send(handle, 'go', 'yes')
      expect((await runtime.ended(handle)).output).toBe('yes')
    })

    it('timeouts and schemas that are none fail the step before it waits', async () => {
      const wrong = [{ timeout: 0 }, { timeout: 31_536_000_001 }, { timeout: '5' }, { schema: { type: 'strang' } }]
      const ask = (step: StepApi) => {
        return Promise.all(wrong.map((options) => step.waitFor('go', options as object).catch(codeOf)))
      }
      const ended = await runtime.ended(await submit(ask))
      expect(ended.output).toEqual(wrong.map(() => 'INVALID_REQUEST'))
      expect(ended.steps).toEqual([])
    })
  })
})

const gates = new Gates()

describeOnDatabases('a signal that meets the run on its way to waiting', (open) => {
  const waits = defineAgent<string>({
    name: 'waits',
    version: '1',
    async run({ input, step }) {
      const got = step.waitFor('go', { timeout: 60_000 })
      await step.do('beside', () => gates.at(input).pass(), { sideEffects: false })
      return got
    },
  })
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [waits] })
  })

  // `opens`: before the wait is known; `releases`: after it has looked, before the slot is given back.
  it.each([
    ['opens its wait', 'runs_hold_for_wait', 'kept'],
    ['gives back its slot', 'runs_release', 'delivered'],
  ])('just before it %s is not lost', async (what, statement, state) => {
    const input = `${what} ${runtime.database.kind}`
    const point = runtime.database.pauseAt(statement)
    gates.at(input).open()
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'waits', input })
    await point.reached
    if (runtime.database.kind === 'postgres' || statement === 'runs_release') {
      expect((await runtime.runs.signal('default', handle.runId, 'go', what)).state).toBe(state)
    }
    point.resume()
    if (runtime.database.kind === 'embedded' && statement !== 'runs_release') {
      await runtime.runs.signal('default', handle.runId, 'go', what) // one session: nothing comes in between
    }
    expect((await runtime.ended(handle)).output).toBe(what)
  })

  it('while a step beside it runs is there when that is done', async () => {
    const input = `beside ${runtime.database.kind}`
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'waits', input })
    await gates.at(input).reached
    await until(
      () => runtime.runs.get('default', handle.runId),
      ({ waits }) => waits.length === 1,
    )
    expect((await runtime.runs.signal('default', handle.runId, 'go', 'early')).state).toBe('delivered')
    gates.at(input).open()
    expect((await runtime.ended(handle)).output).toBe('early')
  })
})
