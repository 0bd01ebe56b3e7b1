import {
  acksOfRuns,
  type Finding,
  type RunReconciliation,
  reconcile,
  writeReconciliations,
} from '../../domains/audit/audit.ts'
import { type ContractRow, contractsOf, isTerminal } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import { appendEvents, type EventType, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

export interface ReconciliationContext {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly metrics: Metrics
}

/**
 * Holds what is stored of each run against its contract, stores the result, and publishes what is wrong: all in one
 * transaction a batch. It reads only what is stored, so it also finds what the legacy path, a crash or a hand-edited
 * row left behind. A result that has not changed is not published again.
 */
export async function reconcileRuns(
  context: ReconciliationContext,
  tenantId: string,
  runIds: readonly string[],
): Promise<RunReconciliation[]> {
  const reconciled: RunReconciliation[] = []
  for (let from = 0; from < runIds.length; from += limits.reconcileBatchMax) {
    reconciled.push(...(await reconcileBatch(context, tenantId, runIds.slice(from, from + limits.reconcileBatchMax))))
  }
  return reconciled
}

async function reconcileBatch(
  { database, clock, newId, metrics }: ReconciliationContext,
  tenantId: string,
  runIds: readonly string[],
): Promise<RunReconciliation[]> {
  const results = await database.transaction(async (tx) => {
    const [contracts, acks] = await Promise.all([contractsOf(tx, tenantId, runIds), acksOfRuns(tx, tenantId, runIds)])
    const acksByRun = Map.groupBy(acks, (ack) => ack.runId)
    const at = clock.now()
    const runs = contracts.map((contract) => {
      const facts = factsOf(contract, acksByRun.get(contract.runId) ?? [])
      return { tenantId, runId: contract.runId, at, ...reconcile(facts, at) }
    })
    const changed = await writeReconciliations(tx, runs)
    const entries = runs
      .filter((run) => changed.has(run.runId) && run.findings.length > 0)
      .map((run) => ({ tenantId, runId: run.runId, events: eventsOf(run, newId) }))
    await appendEvents(tx, entries)
    return runs
  })
  for (const { result } of results) metrics.counter('concordat_reconciliations_total').inc({ result })
  return results
}

function factsOf(contract: ContractRow, acks: Awaited<ReturnType<typeof acksOfRuns>>) {
  return { expected: contract.expectations, acks, anchors: { ...contract, ended: isTerminal(contract.phase) } }
}

const EVENT_OF = {
  missing: 'audit.reconciliation.missing',
  overdue: 'audit.expectation.timeout',
  drift: 'audit.reconciliation.drift',
  stale: 'audit.reconciliation.stale',
  invalid_contract: 'audit.reconciliation.failed',
} as const satisfies Record<Finding['kind'], EventType>

function eventsOf({ findings, at, result }: RunReconciliation, newId: IdSource): RunEvent[] {
  return Object.entries(EVENT_OF).flatMap(([kind, type]) => {
    const own = findings.filter((finding) => finding.kind === kind)
    if (own.length === 0) return []
    const data = { result, findings: own.map(({ domain, action, detail }) => ({ domain, action, detail })) }
    return [{ id: newId(), type, time: at.toISOString(), data }]
  })
}
