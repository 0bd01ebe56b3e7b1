import { settleAlerts } from '../../domains/alerts/alerts.ts'
import {
  type AckOutcome,
  type Action,
  AuditReconciler,
  ackOutcomesOfRuns,
  askForLooksAgain,
  expectationStates,
  type Finding,
  nextDueAt,
  type RunReconciliation,
  writeReconciliations,
} from '../../domains/audit/audit.ts'
import { type ContractRow, contractsOf, isTerminal, type RunKey } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import { appendEvents, type EventType, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import type { Database, Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { endStale, staleEnd } from '../kernel/kernel.ts'
import { lostRun, metByAudit } from './lost-runs.ts'
import { type FoundOfRun, standingAlerts } from './standing-alerts.ts'
import { unrecordedOf } from './unrecorded.ts'

export interface ReconciliationContext {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly metrics: Metrics
  readonly log: Logger
}

/** A run held against its contract, and when it is to be looked at next; null: it has ended, or nothing can be overdue. */
export interface HeldToContract extends RunReconciliation {
  readonly nextLookAt: Date | null
}
type FoundRun = HeldToContract & FoundOfRun

/**
 * Holds what is stored of each run against its contract, and stores the result, what it means as alerts, and both as
 * events: all in the caller's transaction. It reads only what is stored, so it also finds what the legacy path, a crash
 * or a hand-edited row left behind. A result that has not changed is not published again. A run that is past its time
 * and that nobody executes is given an end.
 */
export async function holdToContract(
  tx: Tx,
  { clock, newId }: ReconciliationContext,
  keys: readonly RunKey[],
): Promise<HeldToContract[]> {
  const runs = keys.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))
  // The runs first, with a lock: of two looks at the same time, the one that has seen less must not have the last word.
  const [contracts, outcomes, unrecorded] = await Promise.all([
    contractsOf(tx, runs),
    ackOutcomesOfRuns(tx, runs),
    unrecordedOf(tx, runs),
  ])
  const contractByRun = new Map(contracts.map((contract) => [contract.runId, contract]))
  const met = await metByAudit(
    tx,
    runs.filter(({ runId }) => !contractByRun.has(runId)),
  )
  const at = clock.now()
  const held = runs.flatMap((run) => {
    const acks = outcomes.get(run.runId) ?? []
    const absent = unrecorded.get(run.runId) ?? []
    const contract = contractByRun.get(run.runId)
    if (contract) return heldRun(contract, acks, absent, at)
    return lostRun(run, { acks, unrecorded: absent, isKnown: met.has(run.runId) }, at)
  })
  const changed = await writeReconciliations(tx, held)
  await appendEvents(
    tx,
    eventsOf(
      held.filter((run) => changed.has(run.runId) && run.findings.length > 0),
      newId,
    ),
  )
  await settleAlerts(tx, held, held.flatMap(standingAlerts), { at, newId })
  await askForLooksAgain(
    tx,
    held.filter(({ findings }) => findings.length > 0),
  )
  for (const run of held) if (run.result === 'STALE') await endStale(tx, run, staleEnd())
  return held
}

function heldRun(
  contract: ContractRow,
  acks: readonly AckOutcome[],
  unrecorded: readonly Action[],
  at: Date,
): FoundRun {
  const { tenantId, runId, blockedBy, blockedBecause } = contract
  const anchors = { ...contract, ended: isTerminal(contract.phase) }
  const found = new AuditReconciler().reconcile({ expected: contract.expectations, acks, anchors, unrecorded }, at)
  return { tenantId, runId, at, ...found, blockedBy, blockedBecause, nextLookAt: nextLookAt(contract, acks, at) }
}

/** A run that is overdue while a worker has it is looked at again soon: the worker may die. */
function nextLookAt(contract: ContractRow, acks: readonly AckOutcome[], at: Date): Date | null {
  if (isTerminal(contract.phase)) return null
  const states = expectationStates(contract.expectations, acks, { ...contract, ended: false }, at)
  const isStale = states.some(({ action, overdue }) => action === 'finalize_run' && overdue)
  return isStale ? new Date(at.getTime() + limits.staleLookMs) : nextDueAt(states, at)
}

const EVENT_OF = {
  missing: 'audit.reconciliation.missing',
  overdue: 'audit.expectation.timeout',
  drift: 'audit.reconciliation.drift',
  stale: 'audit.reconciliation.stale',
  invalid_contract: 'audit.reconciliation.failed',
} as const satisfies Record<Finding['kind'], EventType>

function eventsOf(runs: readonly RunReconciliation[], newId: IdSource) {
  return runs.map(({ tenantId, runId, findings, at, result }) => {
    const events = Object.entries(EVENT_OF).flatMap(([kind, type]): RunEvent[] => {
      const own = findings.filter((finding) => finding.kind === kind)
      if (own.length === 0) return []
      const data = { result, findings: own.map(({ domain, action, detail }) => ({ domain, action, detail })) }
      return [{ id: newId(), type, time: at.toISOString(), data }]
    })
    return { tenantId, runId, events }
  })
}
