import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineSkill, type StepApi } from '../../domains/agents/agents.ts'
import type { Json } from '../../foundation/json.ts'
import { planAgent } from './plan.ts'

const upper = defineSkill({
  name: 'upper',
  params: z.strictObject({ text: z.string() }),
  sideEffects: false,
  run: ({ text }) => text.toUpperCase(),
})
const agent = planAgent([upper])
const plan = (...steps: object[]) => ({ plan: { steps } }) as Json

describe('the agent `plan`', () => {
  test('runs the steps of its input under their own names, with the skill of each', async () => {
    const taken: unknown[] = []
    const step = {
      tool: async (name: string, input: Json, options: object) => {
        taken.push({ name, input, ...options })
        return (input as { text: string }).text.toUpperCase()
      },
    } as unknown as StepApi
    const output = await agent.run({
      input: {
        plan: {
          steps: [
            { skill: 'upper', name: 'first', params: { text: '{{ input.word }}' } },
            { skill: 'upper', params: { text: '{{ steps.first.output }}!' } },
          ],
        },
        input: { word: 'hi' },
      },
      step,
      signal: new AbortController().signal,
      secrets: { get: () => '' },
      run: { runId: 'r', tenantId: 't', metadata: null },
    })
    expect(output).toBe('HI!')
    expect(taken).toEqual([
      { name: 'first', input: { text: 'hi' }, tool: 'upper', sideEffects: false },
      { name: 'upper#2', input: { text: 'HI!' }, tool: 'upper', sideEffects: false },
    ])
  })

  test.each([
    ['without a plan', { input: 1 }, 'INVALID_INPUT'],
    [
      'with something else beside it',
      { plan: { steps: [{ skill: 'upper', params: { text: 'x' } }] }, more: 1 },
      'INVALID_INPUT',
    ],
    ['whose plan has no steps', plan(), 'INVALID_PLAN'],
    ['with an unknown skill', plan({ skill: 'uper', params: {} }), 'UNKNOWN_SKILL'],
    ['with params that do not fit the skill', plan({ skill: 'upper', params: { text: 5 } }), 'INVALID_PLAN'],
    [
      'with a reference to a later step',
      plan(
        { skill: 'upper', params: { text: '{{ steps.b.output }}' } },
        { skill: 'upper', name: 'b', params: { text: 'x' } },
      ),
      'INVALID_REFERENCE',
    ],
    ['with too many steps', plan(...Array(513).fill({ skill: 'upper', params: { text: 'x' } })), 'PLAN_TOO_LONG'],
  ])('refuses an input %s at submission', (_what, input, code) => {
    expect(() => agent.validateInput(input)).toThrow(expect.objectContaining({ code }))
  })
})
