import {
  type ActivePolicy,
  heldAtEnd,
  type PolicyBook,
  type PolicyDefinition,
  type PolicySet,
  type PolicyVersions,
  versionNow,
  versionsOf,
} from '../../domains/policies/policies.ts'
import type { RunKey } from '../../domains/runs/runs.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { HeldRun } from '../kernel/kernel.ts'

/** What a run's end is held against. */
export interface PoliciesAtEnd {
  readonly policies: readonly ActivePolicy[]
  /** Those that are not as they were when the run started, or was resumed last, by name. */
  readonly changed: ReadonlyMap<string, PolicyVersions>
}

const UNCHANGED: PoliciesAtEnd['changed'] = new Map()

/** Nothing has changed since the run started. */
export function unchanged(policies: readonly ActivePolicy[]): PoliciesAtEnd {
  return { policies, changed: UNCHANGED }
}

const RUNS = rowSet<RunKey>({
  tenant_id: ['text', (run) => run.tenantId],
  run_id: ['uuid', (run) => run.runId],
})

/* By the versions' own times, to the microsecond: a time that had passed through this process would be a millisecond off. */
const SELECT_AT_START = statement(
  'policies_at_start_of_runs',
  `select r.run_id as "runId", p.version, p.definition
     from ${RUNS.from(1)} as x
    cross join lateral (
      select a.tenant_id, a.run_id, coalesce(a.policies_as_of, a.execution_started_at) as since
        from concordat.runs a where a.tenant_id = x.tenant_id and a.run_id = x.run_id limit 1) r
     join concordat.policies p on p.tenant_id = r.tenant_id
      and p.created_at <= r.since and (p.retired_at is null or p.retired_at > r.since)
    order by p.name`,
)

interface StartRow {
  readonly runId: string
  readonly version: number
  readonly definition: PolicyDefinition
}

/** By run: what its end is held against, given what is in force of its tenant. Reads only where something has changed. */
export async function policiesAtEnd(
  tx: Tx,
  runs: readonly HeldRun[],
  sets: ReadonlyMap<string, PolicySet>,
  book: PolicyBook,
): Promise<ReadonlyMap<string, PoliciesAtEnd>> {
  const setOf = ({ tenantId }: HeldRun) => sets.get(tenantId)
  const since = runs.filter((run) => {
    const changedAt = setOf(run)?.changedAt
    return run.executionStartedAt !== null && changedAt && changedAt >= run.executionStartedAt
  })
  const rows = since.length === 0 ? [] : await tx.query<StartRow>(SELECT_AT_START, RUNS.values(since))
  const atStart = Map.groupBy(rows, (row) => row.runId)
  return new Map(
    runs.map((run) => {
      const now = setOf(run)?.policies ?? []
      if (!since.includes(run)) return [run.runId, unchanged(now)]
      const before = (atStart.get(run.runId) ?? []).map((row) => book.inForce(row.definition, row.version))
      return [run.runId, afterChanges(before, now)]
    }),
  )
}

/** Pure. Each policy by the version that its mode says. */
function afterChanges(before: readonly ActivePolicy[], now: readonly ActivePolicy[]): PoliciesAtEnd {
  const versions = [...versionsOf(before, now)]
  return {
    policies: versions.flatMap(([, each]) => heldAtEnd(each) ?? []),
    changed: new Map(versions.filter(([, each]) => (each.before?.version ?? null) !== versionNow(each))),
  }
}
