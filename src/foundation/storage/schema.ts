import type { Generated } from 'kysely'

/** Tables as dynamic filters see them: only what lists and searches filter and order by. Hot statements are whole SQL. */
export interface Schema {
  'concordat.runs': {
    tenant_id: string
    run_id: string
    agent: string
    agent_version: string
    phase: string
    status: Generated<string>
    waiting: string | null
    reason: string | null
    step_count: number
    cost_nano_usd: bigint | null
    due_at: Date | null
    worker_id: string | null
    parent_run_id: string | null
    created_at: Date
    ended_at: Date | null
  }
}
