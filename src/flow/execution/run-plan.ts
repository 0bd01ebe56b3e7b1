import {
  type Plan,
  type PlanStep,
  type ReferenceScope,
  resolveReferences,
  type Secrets,
  type Skill,
  type SkillStep,
  type StepApi,
} from '../../domains/agents/agents.ts'
import type { Json } from '../../foundation/json.ts'

export interface PlanContext {
  readonly input: Json
  readonly step: StepApi
  readonly secrets: Secrets
  readonly skills: ReadonlyMap<string, Skill>
}

/**
 * Runs the plan's steps one after the other, each under its own name, and returns the last one's output. The first
 * failure ends it, except that of an optional step, whose output is null. The plan must have been validated against
 * the same skills; `step.tool` is expected to run the skill of the plan's step of that name.
 */
export async function runPlan(plan: Plan, context: PlanContext): Promise<Json> {
  const outputs = new Map<string, Json>()
  let output: Json = null
  for (const planned of plan.steps) {
    output = await runStep(planned, context, { input: context.input, outputs })
    outputs.set(planned.name, output)
  }
  return output
}

async function runStep(planned: PlanStep, context: PlanContext, scope: ReferenceScope): Promise<Json> {
  try {
    const { params, made } = await prepareStep(planned, context, scope)
    return await takeStep(planned.name, params, made, context)
  } catch (error) {
    if (planned.optional) return null
    throw error
  }
}

interface PreparedStep {
  readonly params: Json
  readonly made: SkillStep
}

async function prepareStep(
  { name, skill, params }: PlanStep,
  context: PlanContext,
  scope: ReferenceScope,
): Promise<PreparedStep> {
  try {
    const resolved = resolveReferences(params, scope)
    return { params: resolved, made: context.skills.get(skill)!.prepare(resolved) }
  } catch (error) {
    // Recorded like any other failed step, so that the trace says where the plan ended and why.
    return context.step.do<never>(name, () => Promise.reject(error), { sideEffects: false })
  }
}

async function takeStep(name: string, params: Json, made: SkillStep, { step, secrets }: PlanContext): Promise<Json> {
  switch (made.kind) {
    case 'tool':
      return step.tool(name, params, made.options)
    case 'llm':
      return step.llm(name, made.request(secrets))
    case 'wait':
      await step.sleep(name, made.ms)
      return null
    case 'signal':
      return step.waitFor(name, made.options)
    case 'record':
      return step.record({ name, ...made.step })
  }
}
