import { z } from 'zod'
import { type CodeAgent, defineAgent, type Skill, type StepApi, validatePlan } from '../../domains/agents/agents.ts'
import { runPlan } from '../../flow/execution/execution.ts'
import type { Json } from '../../foundation/json.ts'

const inputSchema = z.strictObject({
  /** `{ steps: [{ skill, params, name?, optional? }] }`; checked against the skills on its own. */
  plan: z.custom<Json>((value) => value !== undefined, 'expected a plan'),
  /** What the plan calls `{{ input }}`. */
  input: z.custom<Json>().default(null),
})

/**
 * The built-in agent `plan`: runs the plan in its input, for a run without code and without an agent of its own. A plan
 * that is wrong is refused at submission, with the codes of `validatePlan`. Every worker has it; a worker that lacks one
 * of the skills fails the run with `UNKNOWN_SKILL`.
 */
export function planAgent(skills: readonly Skill[]): CodeAgent {
  const known = new Map(skills.map((skill) => [skill.name, skill]))
  const agent = defineAgent({
    name: 'plan',
    version: '1',
    input: inputSchema,
    run: ({ input, step, secrets }) => {
      const plan = validatePlan(input.plan, known)
      const skillOf = new Map(plan.steps.map(({ name, skill }) => [name, skill]))
      const planned: StepApi = {
        ...step,
        tool: (name, params, options) => step.tool(name, params, { ...options, tool: skillOf.get(name) ?? name }),
      }
      return runPlan(plan, { input: input.input, step: planned, secrets, skills: known })
    },
  })
  return Object.freeze({
    ...agent,
    validateInput(input: unknown): Json {
      validatePlan((agent.validateInput(input) as { readonly plan: Json }).plan, known)
      return input as Json
    },
  })
}
