import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { limits } from '../../limits.ts'
import { validatePlan } from './plan.ts'
import { defineSkill } from './skill.ts'

const fetchSkill = defineSkill({
  name: 'fetch',
  params: z.strictObject({ url: z.string() }),
  sideEffects: false,
  run: ({ url }) => url,
})
const noteSkill = defineSkill({ name: 'note', params: z.looseObject({}), sideEffects: false, run: () => null })
const skills = new Map([fetchSkill, noteSkill].map((skill) => [skill.name, skill]))

function refusalOf(plan: unknown): AppError {
  try {
    validatePlan(plan, skills)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('the plan was accepted')
}

test('a plan gets names and defaults: the skill, with its number from the second use on', () => {
  const url = 'http://x.example/'
  const plan = validatePlan(
    {
      steps: [
        { skill: 'fetch', params: { url } },
        { skill: 'note', name: 'remember', params: { seen: '{{ steps.fetch.output }}' } },
        { skill: 'fetch', params: { url: '{{ steps.remember.output.url }}' }, optional: true },
        { skill: 'note' },
      ],
    },
    skills,
  )
  expect(plan.steps).toEqual([
    { name: 'fetch', skill: 'fetch', params: { url }, optional: false },
    { name: 'remember', skill: 'note', params: { seen: '{{ steps.fetch.output }}' }, optional: false },
    { name: 'fetch#2', skill: 'fetch', params: { url: '{{ steps.remember.output.url }}' }, optional: true },
    { name: 'note#2', skill: 'note', params: {}, optional: false },
  ])
})

test('a plan is a copy that nobody else can change', () => {
  const source = { steps: [{ skill: 'note', params: { deep: { x: 1 } } }] }
  const plan = validatePlan(source, skills)
  source.steps[0]!.params.deep.x = 2
  expect(plan.steps[0]?.params).toEqual({ deep: { x: 1 } })
})

test('a plan that was validated stays as it is when it is validated again', () => {
  const plan = validatePlan({ steps: [{ skill: 'note' }, { skill: 'note' }] }, skills)
  expect(validatePlan(plan, skills)).toEqual(plan)
})

describe('a plan is refused', () => {
  test('with a skill that is not registered, naming those that are', () => {
    const error = refusalOf({ steps: [{ skill: 'note' }, { skill: 'fech', name: 'get page' }] })
    expect(error.code).toBe('UNKNOWN_SKILL')
    expect(error.message).toBe('steps[1] "get page": there is no skill "fech"; known: "fetch", "note"')
    expect(error.details).toMatchObject({ step: 1, name: 'get page' })
  })

  test.each([
    ['a later step', '{{ steps.last.output }}', 'comes no earlier'],
    ['itself', 'x {{ steps.first.output.x }}', 'comes no earlier'],
    ['a step that is not there', '{{ steps.nobody.output }}', 'an unknown step'],
    ['nothing that makes sense', '{{{{', 'is not a reference'],
  ])('with a reference to %s, naming step and reference', (_what, text, why) => {
    const error = refusalOf({
      steps: [
        { skill: 'note', name: 'first', params: { a: [text] } },
        { skill: 'note', name: 'last' },
      ],
    })
    expect(error.code).toBe('INVALID_REFERENCE')
    expect(error.message).toContain('steps[0] "first": ')
    expect(error.message).toContain(why)
  })

  test('over 512 steps, however they look', () => {
    const error = refusalOf({ steps: Array.from({ length: limits.planStepsMax + 1 }, () => 5) })
    expect(error.code).toBe('PLAN_TOO_LONG')
    expect(error.message).toContain('513 steps')
  })

  test('with two steps of one name, a default name included', () => {
    const error = refusalOf({ steps: [{ skill: 'note' }, { skill: 'fetch', name: 'note', params: { url: '' } }] })
    expect(error.code).toBe('INVALID_PLAN')
    expect(error.message).toBe('steps[1] "note": another step has the same name')
  })

  test('with params that do not fit their skill', () => {
    const error = refusalOf({ steps: [{ skill: 'fetch', params: { uri: 'http://x.example/' } }] })
    expect(error.code).toBe('INVALID_PLAN')
    expect(error.message).toContain('steps[0] "fetch": The params of skill fetch do not fit')
    expect(error.message).toContain('url')
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a text', 'plan'],
    ['an empty list', { steps: [] }],
    ['a step that is a text', { steps: ['fetch'] }],
    ['an unknown field', { steps: [{ skill: 'note', retries: 5 }] }],
    ['params that are a list', { steps: [{ skill: 'note', params: [] }] }],
    ['an empty name', { steps: [{ skill: 'note', name: '' }] }],
    ['a name with a line break', { steps: [{ skill: 'note', name: 'a\nb' }] }],
  ])('when it is or has %s', (_what, plan) => {
    expect(refusalOf(plan).code).toBe('INVALID_PLAN')
  })

  test('with values that JSON does not have', () => {
    expect(refusalOf({ steps: [{ skill: 'note', params: { x: () => 1 } }] }).code).toBe('NOT_SERIALIZABLE')
  })
})
