import { z } from 'zod'
import { defineSkill, type Skill } from '../../../domains/agents/agents.ts'
import type { JsonObject } from '../../../foundation/json.ts'
import { limits } from '../../../limits.ts'

const paramsSchema = z.strictObject({
  /** What the payload must fit, as JSON Schema. */
  schema: z
    .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
    .optional(),
  timeoutMs: z.int().min(1).max(limits.waitTimeoutMsMax).optional(),
})

/** The skill `wait_for`: waits for a signal under the step's own name, without holding a worker slot; its payload is the output. */
export function waitForSkill(): Skill {
  return defineSkill({
    name: 'wait_for',
    params: paramsSchema,
    prepare: ({ schema, timeoutMs }) => ({
      kind: 'signal',
      options: { ...(schema && { schema }), ...(timeoutMs !== undefined && { timeout: timeoutMs }) },
    }),
  })
}
