import { beforeAll, describe, expect, it } from 'vitest'
import { AppError, defineAgent, type StepApi } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'

type Script = (step: StepApi, runId: string, signal: AbortSignal) => unknown

/** Agents by a script that the test names in the input: each test says itself what its run does. */
const scripts = new Map<string, Script>()
const scripted = defineAgent<string>({
  name: 'scripted',
  version: '1',
  run: ({ input, step, run, signal }) => scripts.get(input)?.(step, run.runId, signal),
})

const gates = new Gates()
const quick = { maxAttempts: 3, baseMs: 20, capMs: 40 }

describeOnDatabases('steps', (open) => {
  let runtime: TestRuntime
  let scriptCount = 0
  beforeAll(async () => {
    runtime = await open({ agents: [scripted] })
  })

  const submit = (script: Script) => {
    const name = `script ${scriptCount++}`
    scripts.set(name, script)
    return runtime.runs.submit({ tenant: 'default', agent: 'scripted', input: name })
  }
  const run = async (script: Script) => runtime.ended(await submit(script))

  it('return their recorded result when the code runs again, without running again', async () => {
    const ran: string[] = []
    const ended = await run(async (step) => {
      const first = await step.do('first', () => ({ place: ran.push('first'), at: Math.random() }))
      await step.sleep('nap', 30)
      const again = await step.do('first', () => ran.push('second'))
      await step.sleep('nap', 30)
      return [first, again]
    })
    expect(ran).toEqual(['first', 'second'])
    expect(ended.steps.map(({ key, status, output }) => [key, status, output])).toEqual([
      ['first#1', 'succeeded', (ended.output as unknown[])[0]],
      ['nap#1', 'succeeded', null],
      ['first#2', 'succeeded', 2],
      ['nap#2', 'succeeded', null],
    ])
  })

  it('throw their recorded error again, and the code can handle it', async () => {
    let ran = 0
    const ended = await run(async (step) => {
      const fail = () => {
        ran++
        throw new AppError('HTTP_FAILED', 'no answer', { kind: 'terminal' })
      }
      const seen: unknown[] = []
      await step.do('fail', fail).catch((error) => seen.push(error.code, error.message))
      await step.sleep('nap', 20)
      return seen
    })
    expect(ran).toBe(1)
    expect(ended.output).toEqual(['HTTP_FAILED', 'no answer'])
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', incident: 'PARTIAL' })
  })

  it('are retried with backoff, without holding a slot, until they succeed', async () => {
    const attempts: number[] = []
    const handle = await submit((step) =>
      step.do(
        'flaky',
        ({ attempt, idempotencyKey }) => {
          attempts.push(attempt)
          if (attempt < 3) throw new Error('try again')
          return idempotencyKey
        },
        { retry: { maxAttempts: 5, baseMs: 2_000, capMs: 2_000 } },
      ),
    )
    const now = () => runtime.runs.get('default', handle.runId)
    await expect.poll(async () => (await now()).waiting, { interval: 10 }).toBe('RETRY')
    expect(await now()).toMatchObject({ status: 'running', workerId: null })
    await expect.poll(() => runtime.concordat.worker.active).toBe(0) // it hears of the commit after us
    const ended = await runtime.ended(handle)
    expect(attempts).toEqual([1, 2, 3])
    expect(ended.output).toBe(`${handle.runId}:flaky#1`)
    expect(ended.steps).toMatchObject([{ key: 'flaky#1', attempt: 3, status: 'succeeded' }])
  })

  it('that fail at their last attempt fail the run', async () => {
    let ran = 0
    const fail = () => {
      ran++
      throw new Error('never')
    }
    const ended = await run((step) => step.do('hopeless', fail, { retry: quick }))
    expect(ran).toBe(3)
    expect(endingOf(ended)).toMatchObject({
      status: 'failed',
      reason: 'AGENT_FAILED',
      incident: 'FAILURE',
      trace: 'COMPLETE',
    })
    expect(ended.steps).toMatchObject([{ attempt: 3, status: 'failed', error: { message: 'never' } }])
  })

  it.each([
    ['a terminal error', () => Promise.reject(new AppError('POLICY_VIOLATION', 'no'))],
    ['a wrong program', () => Promise.reject(new TypeError('x is not a function'))],
  ])('are not retried after %s', async (_what, fail) => {
    let ran = 0
    const counted = () => {
      ran++
      return fail()
    }
    const ended = await run((step) => step.do('once', counted, { retry: quick }))
    expect([ran, ended.status]).toEqual([1, 'failed'])
  })

  it('that take too long fail, and their signal aborts', async () => {
    let aborted: unknown
    const ended = await run((step) =>
      step.do(
        'slow',
        ({ signal }) => {
          signal.addEventListener('abort', () => {
            aborted = signal.reason
          })
          return gates.at('never').pass()
        },
        { timeoutMs: 50, retry: { maxAttempts: 1 } },
      ),
    )
    expect(ended.steps).toMatchObject([{ status: 'failed', error: { code: 'STEP_TIMEOUT' } }])
    expect(aborted).toMatchObject({ code: 'STEP_TIMEOUT' })
  })

  it('in Promise.all run beside each other and keep their results over a resume', async () => {
    let peak = 0
    let running = 0
    let ran = 0
    const work = async (value: number) => {
      ran++
      peak = Math.max(peak, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return value
    }
    const ended = await run(async (step) => {
      const values = await Promise.all([1, 2, 3, 4].map((value) => step.do('part', () => work(value))))
      const [, slept] = await Promise.all([step.do('beside', () => work(5)), step.sleep('nap', 30)])
      return [...values, slept ?? null]
    })
    expect(ended.output).toEqual([1, 2, 3, 4, null])
    expect([ran, peak > 1]).toEqual([5, true])
    expect(ended.steps.map(({ key }) => key).toSorted()).toEqual([
      'beside#1',
      'nap#1',
      'part#1',
      'part#2',
      'part#3',
      'part#4',
    ])
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it('beside one that fails are recorded all the same', async () => {
    const ended = await run(async (step) => {
      const settled = await Promise.allSettled([
        step.do('bad', () => Promise.reject(new TypeError('no'))),
        step.do('good', () => 'yes'),
      ])
      return settled.map(({ status }) => status)
    })
    expect(ended.output).toEqual(['rejected', 'fulfilled'])
    expect(ended.steps.map(({ key, status }) => [key, status]).toSorted()).toEqual([
      ['bad#1', 'failed'],
      ['good#1', 'succeeded'],
    ])
  })

  it('that suspend the run can’t be swallowed by try/catch/finally', async () => {
    const caught: unknown[] = []
    const ended = await run(async (step, _runId, signal) => {
      try {
        await step.sleep('nap', 30)
      } catch (error) {
        caught.push(error)
      }
      return signal.aborted
    })
    expect(caught).toEqual([])
    expect(ended.output).toBe(false)
  })

  it('hold no slot while they sleep, and the deadline stands still', async () => {
    const handle = await submit((step) => step.sleep('nap', 3_000))
    const waiting = async () => (await runtime.runs.get('default', handle.runId)).waiting
    await expect.poll(waiting).toBe('TIMER')
    const asleep = await runtime.runs.get('default', handle.runId)
    expect([asleep.status, asleep.workerId, asleep.activeSince]).toEqual(['running', null, null])
    expect(asleep.expectations.find(({ action }) => action === 'finalize_run')?.dueAt).toBeNull()
    const ended = await runtime.ended(handle)
    expect(ended.activeMs).toBeLessThan(2_500)
  })

  describe('that are not what was recorded', () => {
    const taken: [string, (step: StepApi, turn: number) => Promise<unknown>][] = [
      ['another input', (step, turn) => step.record({ kind: 'tool', name: 'same', input: turn, output: 1 })],
      [
        'another kind',
        (step, turn) => step.record({ kind: turn === 1 ? 'llm' : 'tool', name: 'same', input: 1, output: 1 }),
      ],
    ]
    it.each(taken)('%s: RUN_DIVERGED, which names the step', async (_what, take) => {
      let turn = 0
      const ended = await run(async (step) => {
        await take(step, ++turn)
        await step.sleep('nap', 20)
      })
      expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'RUN_DIVERGED', incident: 'FAILURE' })
      expect(ended.error).toMatchObject({ message: expect.stringContaining('same#1') })
      expect(successAcks(ended)).toEqual(FIVE_ACKS)
    })
  })

  it('without a name fail the run with a clear error', async () => {
    const ended = await run((step) => step.do('', () => 1))
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'INVALID_REQUEST' })
  })

  it.each<[string, (step: StepApi) => Promise<unknown>]>([
    ['a sleep of a text', (step) => step.sleep('nap', '5' as never)],
    ['a sleep of no number', (step) => step.sleep('nap', Number.NaN)],
    ['a pause that never ends', (step) => step.do('fail', () => 1, { retry: { maxAttempts: 2, baseMs: Infinity } })],
    ['a pause of centuries', (step) => step.do('fail', () => 1, { retry: { maxAttempts: 2, capMs: 9e15 } })],
    ['a pause that is a text', (step) => step.do('fail', () => 1, { retry: { baseMs: '1' as never } })],
  ])('with %s fail the run with a clear error', async (_what, take) => {
    const ended = await run((step) => take(step))
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'INVALID_REQUEST' })
  })

  it.each<[string, (step: { [verb: string]: (...args: unknown[]) => unknown }) => unknown]>([
    ['kind of step "x" must be llm, tool or user, not undefined', (step) => step.record?.({ name: 'x' })],
    ['kind of step "x" must be', (step) => step.record?.({ name: 'x', kind: 'x\0y', input: null, output: null })],
    ['step.record takes an object, not undefined', (step) => step.record?.()],
    ['model of step "x" must be', (step) => step.llm?.('x', {})],
    ['work of step "x" must be a function', (step) => step.do?.('x', 5)],
    ['retry of step "x" must be an object', (step) => step.do?.('x', () => 1, { retry: null })],
    ['retry of step "x" must be an object', (step) => step.tool?.('x', 1, { retry: null })],
  ])('of plain JavaScript that are not as their types say fail the run by field: %s', async (message, script) => {
    const ended = await run((step) => script(step as unknown as Parameters<typeof script>[0]))
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'INVALID_REQUEST' })
    expect(ended.error).toMatchObject({ message: expect.stringContaining(message) })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it('are not to blame for an output of the run that is over the limit, and the message says so', async () => {
    const handle = await submit(() => 'x'.repeat(4_194_305))
    await expect(handle.result()).rejects.toMatchObject({
      code: 'OUTPUT_TOO_LARGE',
      message: expect.stringMatching(/^The run output has \d+ bytes/),
    })
  })

  it('whose output is over its limit fail, and the run keeps what it had', async () => {
    const ended = await run(async (step) => {
      await step.do('small', () => 'kept')
      await step.do('large', () => 'x'.repeat(4_194_305), { retry: { maxAttempts: 1 } })
    })
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'OUTPUT_TOO_LARGE' })
    expect(ended.steps.map(({ key, status }) => [key, status])).toEqual([
      ['small#1', 'succeeded'],
      ['large#1', 'failed'],
    ])
  })

  it('whose output is over its limit have used what they have used all the same', async () => {
    const ended = await run(async (step) => {
      await step.record({
        kind: 'llm',
        name: 'large',
        input: 'q',
        output: 'x'.repeat(4_194_305),
        costUsd: 0.25,
        tokensOut: 9,
      })
    })
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'OUTPUT_TOO_LARGE' })
    expect(ended.steps).toMatchObject([{ status: 'failed', costUsd: 0.25, tokensOut: 9 }])
  })
})
