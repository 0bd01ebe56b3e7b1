import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { Skill } from '../../../domains/agents/agents.ts'
import type { GuardOptions } from '../../../foundation/http/http.ts'
import { httpCallSkill } from './http-call.ts'
import { jsonTransformSkill } from './json-transform.ts'
import { llmInvokeSkill } from './llm-invoke.ts'
import { recordSkill } from './record.ts'
import { waitSkill } from './wait.ts'
import { waitForSkill } from './wait-for.ts'

export { callModel, type ModelCall } from './call-model.ts'
export { type ScriptedReply, scriptedModel } from './scripted-model.ts'

export interface BuiltInSkillsOptions extends Partial<GuardOptions> {
  /** The models that `llm_invoke` knows by name. */
  readonly models?: Readonly<Record<string, LanguageModelV4>>
}

/** Returns the skills that every plan can use: `http_call`, `llm_invoke`, `json_transform`, `wait`, `wait_for` and `record`. */
export function builtInSkills({ models = {}, allowedPrivateHosts = [], ...rest }: BuiltInSkillsOptions = {}): Skill[] {
  return [
    httpCallSkill({ allowedPrivateHosts, ...rest }),
    llmInvokeSkill(models),
    jsonTransformSkill(),
    waitSkill(),
    waitForSkill(),
    recordSkill(),
  ]
}
