import { pruneLedger } from '../../domains/budgets/budgets.ts'
import { pruneOutbox } from '../../foundation/events/events.ts'
import type { Logger } from '../../foundation/log.ts'
import type { Metrics } from '../../foundation/metrics.ts'
import { createTicker, defineService, type Service, startAll, stopAll } from '../../foundation/service.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { type CompletionContext, createGovernanceRecordsForRun, sweepIntents } from '../completion/completion.ts'
import type { DueEnd, RunOrchestrationKernel, SweptPause } from '../kernel/kernel.ts'

/** How late a timer fires at the most. */
const SWEEP_MS = 100
const REAP_MS = 1_000
const PRUNE_MS = 60_000

export interface MaintenanceOptions {
  readonly kernel: RunOrchestrationKernel
  readonly completion: CompletionContext
  readonly database: Database
  readonly log: Logger
  readonly metrics: Metrics
  readonly outboxRetentionMs: number
  /** Deletes some dead letters that are older than they have to be kept; returns how many. */
  readonly pruneDeadLetters: () => Promise<number>
  /** Goes on with stops whose process has died, and stops what suspended tenants still have in flight. */
  readonly sweepStops: () => Promise<void>
  /** Called when runs became ready to be claimed. */
  readonly onWoken: () => void
}

/** What is due is done though nobody asks. Every worker runs it; rows that another one has are skipped. */
export interface Maintenance extends Service {
  /** Looks for due runs at this time too, so that a short wait in this process ends in time. */
  sweepAt(dueAt: Date, now: Date): void
}

export function createMaintenance(options: MaintenanceOptions): Maintenance {
  const { kernel, completion, database, log, outboxRetentionMs } = options
  const part = (name: string, intervalMs: number, tick: () => Promise<void>) => {
    return createTicker({
      name,
      intervalMs,
      tick,
      onError: (error) => log.error({ error, part: name }, 'maintenance failed'),
    })
  }
  const sweep = part('sweep due runs', SWEEP_MS, () => sweepDueRuns(options))
  const parts = [
    sweep,
    part('sweep pauses', SWEEP_MS, () => sweepPauses(options)),
    part('reap leases', REAP_MS, () => reapLeases(options)),
    part('sweep stops', REAP_MS, options.sweepStops),
    part('stop abandoned', REAP_MS, () => kernel.stopAbandoned()),
    part('sweep intents', REAP_MS, async () => void (await sweepIntents(completion))),
    part('prune outbox', PRUNE_MS, () => untilNone(() => pruneOutbox(database, outboxRetentionMs))),
    part('prune ledger', PRUNE_MS, () => untilNone(() => pruneLedger(database))),
    part('prune dead letters', PRUNE_MS, () => untilNone(options.pruneDeadLetters)),
  ]
  const timers = new Set<NodeJS.Timeout>()
  const service = defineService('maintenance', {
    start: () => startAll(parts),
    stop: async () => {
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
      await stopAll(parts)
    },
  })
  return {
    name: service.name,
    get state() {
      return service.state
    },
    start: () => service.start(),
    stop: () => service.stop(),
    sweepAt(dueAt, now) {
      const waitMs = dueAt.getTime() - now.getTime()
      if (waitMs > SWEEP_MS) return // the sweep will not be later than that anyway
      const timer = setTimeout(() => {
        timers.delete(timer)
        sweep.nudge()
      }, Math.max(waitMs, 0) + 1)
      timers.add(timer)
    },
  }

  async function reapLeases({ onWoken }: MaintenanceOptions): Promise<void> {
    const { workers, runs } = await kernel.reap()
    if (workers.length > 0 || runs.length > 0) {
      const what = workers.length > 0 ? 'workers lost their lease' : 'the workers of some runs are gone'
      log.warn({ workers, runs: runs.length }, `${what}: whoever has room goes on with their runs`)
      onWoken()
    }
  }
}

/** Wakes runs whose time has come, and tries to complete those whose end is known and due. */
export async function sweepDueRuns({
  kernel,
  completion,
  onWoken,
}: Pick<MaintenanceOptions, 'kernel' | 'completion' | 'onWoken'>): Promise<void> {
  const { woken, ends } = await kernel.sweepDue()
  if (woken > 0) onWoken()
  await Promise.all(ends.map((due) => tryEnd(completion, due)))
}

/** Pauses that are near their end or past it, and rate limits that have room again. */
async function sweepPauses({ kernel, completion, log, metrics, onWoken }: MaintenanceOptions): Promise<void> {
  const { done, ends } = await kernel.sweepPauses()
  for (const { action, pause } of done) {
    const { tenantId, runId, pauseId, reason, timeoutAt } = pause
    metrics.counter('concordat_pauses_swept_total').inc({ action })
    const level = action === 'RESUME' ? 'info' : 'warn'
    log[level]({ tenantId, runId, pauseId, reason, timeoutAt }, SWEPT[action])
  }
  if (done.some(({ action }) => action === 'RESUME' || action === 'CONTINUE')) onWoken()
  await Promise.all(ends.map((due) => tryEnd(completion, due)))
}

const SWEPT: { readonly [Action in SweptPause['action']]: string } = {
  RESUME: 'a paused run goes on: its rate limit has room again',
  WARN: 'a paused run waits for somebody to resume it, and its time is nearly over',
  TERMINATE: 'nobody resumed a paused run in time: it ends',
  CONTINUE: 'nobody resumed a paused run in time: it goes on',
  ESCALATE: 'nobody resumed a paused run in time: only an operator may resume it now',
}

/** In bounded bites until nothing old is left. */
async function untilNone(prune: () => Promise<number>): Promise<void> {
  while ((await prune()) > 0);
}

/** One try to complete a run whose end is known: of a denial, a stop, a lost run, or a domain that had refused. */
async function tryEnd(completion: CompletionContext, { tenantId, runId, leaseToken, pending }: DueEnd): Promise<void> {
  const lease = { tenantId, runId, workerId: null, leaseToken }
  const request = { lease, end: pending.end, stop: null, earlierAttempts: pending.attempts, known: null }
  await createGovernanceRecordsForRun(completion, request).catch((error) => {
    completion.log.error({ error, runId, tenantId }, 'a run could not be ended and will be tried again')
  })
}
