import type { RunKey } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import {
  type CompletionContext,
  type CompletionOutcome,
  createGovernanceRecordsForRun,
} from '../completion/completion.ts'
import type { DueEnd, RunOrchestrationKernel, StopNote, StopScope } from '../kernel/kernel.ts'

export interface StoppingContext {
  readonly database: Database
  readonly kernel: RunOrchestrationKernel
  readonly completion: CompletionContext
  readonly clock: Clock
  readonly newId: IdSource
  readonly log: Logger
}

/** What was asked to stop. */
export interface Stopped {
  /** Runs whose workers were told. */
  readonly executing: readonly RunKey[]
  /** How many nobody executed: they are over, or their domains refuse and maintenance goes on. */
  readonly taken: number
}

/** `cancelled`: it is over. `requested`: it will be. `refused`: it is past stopping, or was stopped before. */
export type StopResult = 'cancelled' | 'requested' | 'refused'

/** Stops one run: at once where nobody executes it, else its worker is told. */
export async function stopRun(context: StoppingContext, run: RunKey, note: StopNote): Promise<StopResult> {
  const answer = await context.kernel.requestStop(run, note)
  if (answer.kind === 'refused') return 'refused'
  if (answer.kind === 'executing') return 'requested'
  const outcome = await endNow(context.completion, answer.due)
  return outcome.kind === 'ended' ? 'cancelled' : 'requested'
}

/** Stops a scope's runs, a bounded number a transaction, those that execute first. What dies halfway is not repeated. */
export async function stopScope(context: StoppingContext, scope: StopScope, note: StopNote): Promise<Stopped> {
  const { database, kernel } = context
  const executing: RunKey[] = []
  let taken = 0
  for (;;) {
    const batch = await database.transaction((tx) => kernel.requestStops(tx, scope, note))
    if (batch.executing.length > 0) await kernel.push({ tenantId: scope.tenantId })
    executing.push(...batch.executing)
    taken += batch.taken.length
    await endTaken(context, batch.taken)
    if (batch.last) return { executing, taken }
  }
}

/** Ends runs that nobody executes. Whose end fails is left to maintenance, which has it in its row. */
export async function endTaken({ completion, log }: StoppingContext, taken: readonly DueEnd[]): Promise<void> {
  const ends = taken.map(async (due) => {
    await endNow(completion, due).catch((error) => {
      log.error({ error, runId: due.runId, tenantId: due.tenantId }, 'a stopped run will be ended by maintenance')
    })
  })
  await Promise.all(ends)
}

/** One try to complete a run whose end is known and that is the caller's to end. */
export function endNow(completion: CompletionContext, due: DueEnd): Promise<CompletionOutcome> {
  const { tenantId, runId, leaseToken, pending } = due
  const lease = { tenantId, runId, workerId: null, leaseToken }
  return createGovernanceRecordsForRun(completion, {
    lease,
    end: pending.end,
    stop: null,
    earlierAttempts: pending.attempts,
    known: null,
  })
}
