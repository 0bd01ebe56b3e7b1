import { z } from 'zod'
import { defineSkill, type Skill } from '../../../domains/agents/agents.ts'
import type { Json, JsonObject } from '../../../foundation/json.ts'
import { limits } from '../../../limits.ts'

const count = z.int().min(0).nullish()

const paramsSchema = z.strictObject({
  kind: z.enum(['llm', 'tool', 'user']),
  /** The step's name in the plan where it is left out. */
  name: z.string().min(1).max(limits.stepNameCharsMax).optional(),
  input: z.custom<Json>().default(null),
  output: z.custom<Json>().default(null),
  error: z.string().nullish(),
  tokensIn: count,
  tokensOut: count,
  costUsd: z.number().min(0).max(limits.usdMax).nullish(),
  latencyMs: z.number().min(0).nullish(),
  attributes: z
    .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
    .optional(),
})

/** The skill `record`: records a step that happened elsewhere, as it was. Its error is recorded and ends nothing. */
export function recordSkill(): Skill {
  return defineSkill({
    name: 'record',
    params: paramsSchema,
    prepare: ({ name, attributes, error, tokensIn, tokensOut, costUsd, latencyMs, ...step }) => ({
      kind: 'record',
      step: {
        ...step,
        error: error ?? null,
        tokensIn: tokensIn ?? null,
        tokensOut: tokensOut ?? null,
        costUsd: costUsd ?? null,
        latencyMs: latencyMs ?? null,
        ...(name !== undefined && { name }),
        ...(attributes !== undefined && { attributes }),
      },
    }),
  })
}
