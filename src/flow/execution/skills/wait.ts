import { z } from 'zod'
import { defineSkill, type Skill } from '../../../domains/agents/agents.ts'

const WAIT_MS_MAX = 31_536_000_000 // a year

/** The skill `wait`: waits so many ms, up to a year, without holding a worker slot. */
export function waitSkill(): Skill {
  return defineSkill({
    name: 'wait',
    params: z.strictObject({ ms: z.int().min(0).max(WAIT_MS_MAX) }),
    prepare: ({ ms }) => ({ kind: 'wait', ms }),
  })
}
