import type { JsonObject } from '../../foundation/json.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Agent } from './agent.ts'

const AGENTS = rowSet<Agent>({
  agent: ['text', (agent) => agent.name],
  version: ['text', (agent) => agent.version],
  digest: ['text', (agent) => agent.digest],
  kind: ['text', (agent) => agent.kind],
  input_schema: ['json', ({ inputSchema }) => (inputSchema ? JSON.stringify(inputSchema) : null)],
  max_running: ['int', (agent) => agent.maxRunning],
})

// Sorted, so that workers which start together lock the rows in one order. The first registration keeps its time:
// a worker of an old version that restarts does not make the old version the newest.
const UPSERT = statement(
  'agents_upsert',
  `insert into concordat.agents (${AGENTS.names})
   select * from ${AGENTS.from(1)} as registered
    order by agent, version, digest
   on conflict (tenant_id, agent, version, digest) do update set max_running = excluded.max_running`,
)

const SELECT = statement(
  'agents_list',
  `select agent as name, version, digest, kind, input_schema as "inputSchema", max_running as "maxRunning",
          registered_at as "registeredAt"
     from concordat.agents where tenant_id = 'default'
    order by agent, registered_at, version, digest
    limit $1`,
)

/** Lets servers and other processes know these agents. Registering them again only updates `maxRunning`. */
export async function registerAgents(tx: Tx, agents: readonly Agent[]): Promise<void> {
  if (agents.length > 0) await tx.query(UPSERT, AGENTS.values(agents))
}

/** An agent that some worker has, as far as others know it. */
export interface RegisteredAgent {
  readonly name: string
  readonly version: string
  readonly digest: string
  readonly kind: Agent['kind']
  readonly inputSchema: JsonObject | null
  readonly maxRunning: number | null
  readonly registeredAt: Date
}

const LISTED_MAX = 10_000

/** The registered agents by name, versions in the order of their registration; 10,000 rows at most. */
export async function listAgents(tx: Tx): Promise<RegisteredAgent[]> {
  const rows = await tx.query<Omit<RegisteredAgent, 'inputSchema'> & { inputSchema: string | null }>(SELECT, [
    LISTED_MAX,
  ])
  return rows.map((row) => ({ ...row, inputSchema: row.inputSchema === null ? null : JSON.parse(row.inputSchema) }))
}
