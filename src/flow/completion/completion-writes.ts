import { ACTIONS, type Action, writeAcks } from '../../domains/audit/audit.ts'
import { TraceFacade } from '../../domains/traces/traces.ts'
import { appendEvents } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { finishRuns } from '../kernel/kernel.ts'
import { type DecidedCompletion, isAcknowledged } from './decide-completion.ts'
import { GovernanceFacade } from './governance-facade.ts'
import { TransactionPhase } from './transaction-result.ts'

/** One domain's write for a whole batch of runs, and the phase that it takes their completion to. */
export interface CompletionWrite {
  readonly action: Action
  readonly reaches: TransactionPhase
  readonly run: (tx: Tx, batch: readonly DecidedCompletion[]) => Promise<void>
}

/** What is written together when a run completes, in this order. The commit that follows makes all of it true at once. */
export const COMPLETION_WRITES: readonly CompletionWrite[] = [
  {
    action: ACTIONS.createIncident,
    reaches: TransactionPhase.INCIDENT_CREATED,
    run: (tx, batch) =>
      GovernanceFacade.writeIncidents(
        tx,
        unacknowledged(batch, ACTIONS.createIncident).map((each) => each.governance),
      ),
  },
  {
    action: ACTIONS.evaluatePolicy,
    reaches: TransactionPhase.POLICY_EVALUATED,
    run: (tx, batch) =>
      GovernanceFacade.writeEvaluations(
        tx,
        unacknowledged(batch, ACTIONS.evaluatePolicy).map((each) => each.governance),
      ),
  },
  {
    action: ACTIONS.completeTrace,
    reaches: TransactionPhase.TRACE_COMPLETED,
    run: (tx, batch) =>
      TraceFacade.complete(
        tx,
        unacknowledged(batch, ACTIONS.completeTrace).map((each) => each.traceEnd),
      ),
  },
  {
    action: ACTIONS.finalizeRun,
    reaches: TransactionPhase.COMMITTED,
    run: (tx, batch) => finalize(tx, batch),
  },
]

/** Without the runs of which a legacy try that died halfway has written and acknowledged this: it is not written again. */
function unacknowledged(batch: readonly DecidedCompletion[], action: Action): readonly DecidedCompletion[] {
  return batch.filter(({ held }) => !isAcknowledged(held, action))
}

/** Status, acks and events: rows of the same commit as what they speak of. */
async function finalize(tx: Tx, batch: readonly DecidedCompletion[]): Promise<void> {
  await Promise.all([
    finishRuns(
      tx,
      batch.map((each) => each.finished),
    ),
    writeAcks(
      tx,
      batch.map(({ held, acks, at }) => ({ tenantId: held.tenantId, runId: held.runId, at, acks })),
    ),
    appendEvents(
      tx,
      batch.map(({ held, events }) => ({ tenantId: held.tenantId, runId: held.runId, events })),
    ),
  ])
}
