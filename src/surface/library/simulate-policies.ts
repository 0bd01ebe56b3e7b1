import {
  type ActivePolicy,
  type Expressions,
  evaluate,
  inForce,
  judgeEnd,
  listPolicies,
  type PolicyDefinition,
  planChanges,
  type StoredVerdict,
  standsUnder,
  type Verdict,
  verdictsOfRuns,
} from '../../domains/policies/policies.ts'
import { countEndedRuns, type EndedRunUse, endedRuns, type RunOutcome } from '../../domains/runs/runs.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** A run whose verdict would have been another one. */
export interface ChangedVerdict {
  readonly runId: string
  readonly agent: string
  /** As it is stored, and as it would be; null when no verdict is stored. */
  readonly before: Verdict['outcome'] | null
  readonly after: Verdict
  readonly statusBefore: RunOutcome
  /** Null: a policy ended it on its way, and it would have gone on. */
  readonly statusAfter: RunOutcome | null
}

export interface Simulation {
  /** How many ended runs were looked at. */
  readonly runs: number
  /** Newest first. */
  readonly changed: readonly ChangedVerdict[]
}

export interface SimulationOptions {
  /** What is in force and not named would be removed; without it, it stays. */
  readonly prune?: boolean
  readonly agent?: string
  /** The newest so many, 1 to 100,000; default 1,000. */
  readonly limit?: number
  readonly onProgress?: (done: number, total: number) => void
  readonly signal?: AbortSignal
}

const RUNS_DEFAULT = 1_000

/** Holds ended runs against the policies as they would be in force. Writes nothing. */
export async function simulate(
  database: Database,
  expressions: Expressions,
  tenantId: string,
  wanted: readonly PolicyDefinition[],
  { prune = false, agent: only, limit = RUNS_DEFAULT, onProgress, signal }: SimulationOptions,
): Promise<Simulation> {
  const agent = only ?? null
  const runsMax = Math.min(limit, limits.simulationRunsMax)
  const policies = candidates(await listPolicies(database, tenantId), wanted, prune, expressions)
  const total = await countEndedRuns(database, { tenantId, agent, before: null, limit: runsMax })
  const changed: ChangedVerdict[] = []
  let runs = 0
  let before: string | null = null
  while (runs < runsMax && !signal?.aborted) {
    const pageMax = Math.min(limits.simulationPageMax, runsMax - runs)
    const page: EndedRunUse[] = await endedRuns(database, { tenantId, agent, before, limit: pageMax })
    const stored = await verdictsOfRuns(
      database,
      tenantId,
      page.map(({ runId }) => runId),
    )
    for (const run of page) changed.push(...verdictOf(tenantId, run, stored.get(run.runId) ?? null, policies))
    runs += page.length
    before = page.at(-1)?.runId ?? null
    onProgress?.(runs, total)
    if (page.length < pageMax) break
  }
  return { runs, changed }
}

/** What would be in force after an apply. */
function candidates(
  current: Awaited<ReturnType<typeof listPolicies>>,
  wanted: readonly PolicyDefinition[],
  prune: boolean,
  expressions: Expressions,
): ActivePolicy[] {
  const changes = planChanges(current, wanted, prune)
  const named = new Set(changes.map(({ name }) => name))
  return [...changes.filter(({ change }) => change !== 'removed'), ...current.filter(({ name }) => !named.has(name))]
    .filter(({ definition }) => definition.enabled)
    .map(({ definition, version }) => inForce(definition, version, expressions))
}

function verdictOf(
  tenantId: string,
  { runId, agent, status, reason, totals, wallClockMs }: EndedRunUse,
  stored: StoredVerdict | null,
  policies: readonly ActivePolicy[],
): ChangedVerdict[] {
  const met = stored?.violations.filter((violation) => standsUnder(violation, policies)) ?? []
  const refused = status === 'failed_policy' && reason !== 'POLICY_VIOLATION'
  const facts = { refused, met, changed: new Map(), muted: false, at: new Date(0) }
  const { verdict: after } = judgeEnd(evaluate({ tenantId, agent, ...totals, wallClockMs }, policies), facts)
  const before = stored?.outcome ?? null
  if (after.outcome === before) return []
  const endedOnItsWay = refused && stored?.violations.some(({ decision }) => decision === 'TERMINATE')
  if (endedOnItsWay && after.outcome !== 'VIOLATION') {
    return [{ runId, agent, before, after, statusBefore: status, statusAfter: null }]
  }
  const endedByPolicy = status === 'failed_policy' && reason === 'POLICY_VIOLATION'
  const otherwise = endedByPolicy ? 'succeeded' : status
  const statusAfter = after.outcome === 'VIOLATION' && otherwise === 'succeeded' ? 'failed_policy' : otherwise
  return [{ runId, agent, before, after, statusBefore: status, statusAfter }]
}
