import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { type Json, type JsonObject, stringifyJson } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'
import { checkName, knownNames } from './names.ts'
import { referencesIn } from './references.ts'
import { parseWith } from './schema-check.ts'
import type { Skill } from './skill.ts'

export interface PlanStep {
  /** Unique in the plan; the skill's name where none is given, from its second use on with its number: `wait#2`. */
  readonly name: string
  readonly skill: string
  /** May refer to earlier results, as in `{{ steps.name.output.field }}`, and to the run's `{{ input.field }}`. */
  readonly params: JsonObject
  /** A failure of an optional step does not end the run; its output is then null. */
  readonly optional: boolean
}

/** An agent without code: skills, one after the other. */
export interface Plan {
  readonly steps: readonly PlanStep[]
}

/** A plan as people write it. */
export interface PlanDefinition {
  readonly steps: readonly {
    readonly skill: string
    readonly params?: JsonObject
    readonly name?: string
    readonly optional?: boolean
  }[]
}

const planSchema = z.strictObject({
  steps: z
    .array(
      z.strictObject({
        skill: z.string(),
        params: z.custom<JsonObject>(isObject, 'expected an object').default({}),
        name: z.string().optional(),
        optional: z.boolean().default(false),
      }),
    )
    .min(1),
})

/**
 * Returns the plan with names and defaults filled in, a copy that shares nothing with the value. Fails with
 * `INVALID_PLAN`, `PLAN_TOO_LONG` (over 512 steps) or `INVALID_REFERENCE` (to a later or unknown step); the message
 * names the step.
 */
export function parsePlan(value: unknown): Plan {
  const plan = named(parseWith(planSchema, copy(value), { code: 'INVALID_PLAN', what: 'plan' }))
  const indexOf = new Map(plan.steps.map(({ name }, index) => [name, index] as const).reverse()) // the first of a name
  plan.steps.forEach((step, index) => {
    inStep(step, index, () => {
      checkName('step name', step.name)
      if (indexOf.get(step.name) !== index) throw new AppError('INVALID_PLAN', 'another step has the same name')
      for (const reference of referencesIn(step.params)) {
        if (reference.step === null) continue
        const target = indexOf.get(reference.step) ?? -1
        const why = target < 0 ? 'an unknown step' : target >= index ? 'a step that comes no earlier' : undefined
        if (why) throw new AppError('INVALID_REFERENCE', `{{ ${reference.text} }} refers to ${why}`)
      }
    })
  })
  return plan
}

/**
 * Returns the plan as `parsePlan` does, checked against the skills as well: fails with `UNKNOWN_SKILL`, or with
 * `INVALID_PLAN` for params that don't fit their skill. Params that hold references are checked when they are filled in.
 */
export function validatePlan(value: unknown, skills: ReadonlyMap<string, Skill>): Plan {
  const plan = parsePlan(value)
  plan.steps.forEach((step, index) => {
    inStep(step, index, () => {
      const skill = skills.get(step.skill)
      if (!skill) throw unknownSkill(step.skill, skills.keys())
      if (referencesIn(step.params).length === 0) skill.prepare(step.params)
    })
  })
  return plan
}

export function unknownSkill(name: string, known: Iterable<string>): AppError {
  return new AppError('UNKNOWN_SKILL', `there is no skill ${JSON.stringify(name)}; ${knownNames(name, known)}`)
}

function copy(value: unknown): unknown {
  if (isObject(value) && Array.isArray(value.steps) && value.steps.length > limits.planStepsMax) {
    throw new AppError(
      'PLAN_TOO_LONG',
      `The plan has ${value.steps.length} steps; at most ${limits.planStepsMax} are allowed`,
    )
  }
  const limit = { bytesMax: limits.runInputBytesMax, what: 'plan', tooLargeCode: 'PLAN_TOO_LONG' } as const
  return JSON.parse(stringifyJson(value, limit).text)
}

function named({ steps }: z.output<typeof planSchema>): Plan {
  const uses = new Map<string, number>()
  return {
    steps: steps.map(({ skill, params, name, optional }) => {
      const use = (uses.get(skill) ?? 0) + 1
      uses.set(skill, use)
      return { name: name ?? (use === 1 ? skill : `${skill}#${use}`), skill, params, optional }
    }),
  }
}

/** Runs the check; its error says which step it is about. */
function inStep({ name }: PlanStep, index: number, check: () => void): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const { code, message, hint, details } = error
    const shown = name.slice(0, limits.stepNameCharsMax)
    throw new AppError(
      code === 'INVALID_INPUT' ? 'INVALID_PLAN' : code,
      `steps[${index}] ${JSON.stringify(shown)}: ${message}`,
      { hint, details: { ...details, step: index, name: shown } },
    )
  }
}

function isObject(value: unknown): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
