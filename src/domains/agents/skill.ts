import type { z } from 'zod'
import type { Json } from '../../foundation/json.ts'
import { checkName } from './names.ts'
import { parseWith } from './schema-check.ts'
import type { LlmRequest, RecordedStep, StepContext, StepOptions, WaitOptions } from './step-api.ts'

/** Where agents and skills get secrets. What it returns is never recorded by Concordat: keep it out of results too. */
export interface Secrets {
  /** Fails with `SECRET_MISSING`. */
  get(name: string): string
}

export interface SkillContext extends StepContext {
  readonly secrets: Secrets
}

export interface ToolCall {
  readonly kind: 'tool'
  readonly options: StepOptions
  run(context: SkillContext): unknown
}

/** The step that a skill makes of its params. */
export type SkillStep =
  | ToolCall
  | { readonly kind: 'llm'; request(secrets: Secrets): LlmRequest }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'signal'; readonly options: WaitOptions<Json> }
  | { readonly kind: 'record'; readonly step: Omit<RecordedStep, 'name'> & { readonly name?: string } }

/** A named, reusable step of plans. */
export interface Skill {
  readonly name: string
  /** Decides what step the params make; nothing is done yet. Fails with `INVALID_PLAN` unless they fit. */
  prepare(params: Json): SkillStep
}

interface SkillBase<Params> {
  readonly name: string
  readonly params: z.ZodType<Params>
}

/** A skill that runs code. */
export interface ToolSkillDefinition<Params> extends SkillBase<Params> {
  /** False if the step may simply run again after a crash; see `StepOptions`. */
  readonly sideEffects: boolean
  run(params: Params, context: SkillContext): unknown
}

/** A skill that decides by its params what step they make. */
export interface StepSkillDefinition<Params> extends SkillBase<Params> {
  prepare(params: Params): SkillStep
}

/**
 * Returns a skill for plans, to be registered in the configuration. Its params are checked before it runs.
 *
 *     defineSkill({
 *       name: 'shout',
 *       params: z.object({ text: z.string() }),
 *       sideEffects: false,
 *       run: ({ text }) => text.toUpperCase(),
 *     })
 */
export function defineSkill<Params>(definition: ToolSkillDefinition<Params> | StepSkillDefinition<Params>): Skill {
  const name = checkName('skill name', definition.name)
  return Object.freeze({
    name,
    prepare(params: Json): SkillStep {
      const parsed = parseWith(definition.params, params, {
        code: 'INVALID_PLAN',
        what: `params of skill ${name}`,
        isPlural: true,
      })
      if ('prepare' in definition) return definition.prepare(parsed)
      const { sideEffects } = definition
      return { kind: 'tool', options: { sideEffects }, run: (context) => definition.run(parsed, context) }
    },
  })
}
