import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineSkill, type StepApi, validatePlan } from '../../domains/agents/agents.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'
import { runPlan } from './run-plan.ts'
import { builtInSkills, scriptedModel } from './skills/skills.ts'

const upper = defineSkill({
  name: 'upper',
  params: z.strictObject({ text: z.string() }),
  sideEffects: false,
  run: ({ text }) => {
    if (text === 'fail') throw new AppError('HTTP_FAILED', 'upper failed')
    return { text: text.toUpperCase() }
  },
})
const models = { tiny: scriptedModel([{ reply: '{"url":"http://x.example/"}' }]) }
const skills = new Map([...builtInSkills({ models }), upper].map((skill) => [skill.name, skill]))
const secrets = { get: (name: string) => name }

/** Takes steps without a database, and notes them. */
function stepsOf(plan: { steps: readonly { name: string; skill: string }[] }) {
  const taken: unknown[] = []
  const step: StepApi = {
    async do(name, work) {
      taken.push(['do', name])
      return work({ signal: new AbortController().signal, attempt: 1, idempotencyKey: '' })
    },
    async tool<T>(name: string, input: Json, options?: object) {
      taken.push(['tool', name, input, options])
      const made = skills.get(plan.steps.find((planned) => planned.name === name)!.skill)!.prepare(input)
      if (made.kind !== 'tool') throw new Error('not a tool')
      return made.run({ signal: new AbortController().signal, attempt: 1, idempotencyKey: '', secrets }) as T
    },
    async llm(name, { model, prompt }) {
      taken.push(['llm', name, model.modelId, prompt])
      return { text: '', finishReason: 'stop', url: 'http://x.example/' }
    },
    async sleep(name, ms) {
      taken.push(['sleep', name, ms])
    },
    async waitFor<T>(name: string, options?: object): Promise<T> {
      taken.push(['waitFor', name, options])
      return { paid: true } as T
    },
    async run<T>(agent: string): Promise<T> {
      taken.push(['run', agent])
      return null as T
    },
    async approval() {
      throw new Error('plans ask nobody')
    },
    async record(recorded) {
      taken.push(['record', recorded])
      return recorded.output
    },
  }
  return { step, taken }
}

async function run(definition: unknown, input: Json = null) {
  const plan = validatePlan(definition, skills)
  const { step, taken } = stepsOf(plan)
  const ending = await runPlan(plan, { input, step, secrets, skills }).then(
    (output) => ({ output }),
    (error: AppError) => ({ code: error.code, message: error.message }),
  )
  return { ...ending, taken }
}

test('a plan takes its steps in order, each of its kind and under its name, and ends with the last output', async () => {
  const { taken, ...ending } = await run(
    {
      steps: [
        { skill: 'llm_invoke', name: 'plan', params: { model: 'tiny', prompt: 'about {{ input.topic }}' } },
        { skill: 'wait', params: { ms: 5 } },
        { skill: 'wait_for', name: 'payment', params: { schema: { type: 'object' }, timeoutMs: 9 } },
        { skill: 'record', params: { kind: 'user', output: { said: '{{ input.topic }}' }, tokensIn: 3 } },
        { skill: 'upper', params: { text: '{{ steps.plan.output.url }}' } },
      ],
    },
    { topic: 'bees' },
  )
  expect(ending).toEqual({ output: { text: 'HTTP://X.EXAMPLE/' } })
  expect(taken).toEqual([
    ['llm', 'plan', 'tiny', 'about bees'].with(2, 'scripted'),
    ['sleep', 'wait', 5],
    ['waitFor', 'payment', { schema: { type: 'object' }, timeout: 9 }],
    ['record', expect.objectContaining({ name: 'record', kind: 'user', output: { said: 'bees' }, tokensIn: 3 })],
    ['tool', 'upper', { text: 'http://x.example/' }, { sideEffects: false }],
  ])
})

describe('a step that fails', () => {
  const failing = { skill: 'upper', name: 'bad', params: { text: 'fail' } }
  const after = { skill: 'upper', params: { text: 'went on' } }

  test('ends the plan', async () => {
    const { taken, ...ending } = await run({ steps: [failing, after] })
    expect(ending).toEqual({ code: 'HTTP_FAILED', message: 'upper failed' })
    expect(taken).toHaveLength(1)
  })

  test('does not if it is optional; its output is null', async () => {
    const seen = { skill: 'record', params: { kind: 'tool', output: ['{{ steps.bad.output }}'] } }
    const { taken, ...ending } = await run({ steps: [{ ...failing, optional: true }, after, seen] })
    expect(ending).toEqual({ output: [null] })
    expect(taken).toHaveLength(3)
  })
})

describe('a step whose params turn out wrong is recorded as failed', () => {
  test('where a result lacks what it refers to', async () => {
    const { taken, ...ending } = await run({
      steps: [
        { skill: 'upper', params: { text: 'x' } },
        { skill: 'upper', name: 'next', params: { text: '{{ steps.upper.output.title }}' } },
      ],
    })
    expect(ending).toMatchObject({
      code: 'INVALID_REFERENCE',
      message: expect.stringContaining('steps.upper.output.title'),
    })
    expect(taken.at(-1)).toEqual(['do', 'next'])
  })

  test('where a value does not fit the skill', async () => {
    const { taken, ...ending } = await run({ steps: [{ skill: 'upper', params: { text: '{{ input }}' } }] }, { a: 1 })
    expect(ending).toMatchObject({ code: 'INVALID_PLAN', message: expect.stringContaining('text') })
    expect(taken).toEqual([['do', 'upper']])
  })
})
