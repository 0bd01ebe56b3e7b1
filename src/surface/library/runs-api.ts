import { isTerminal, listRuns, type RunFilter, type RunStatus, type RunSummary } from '../../domains/runs/runs.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import type { CompletionContext, CompletionOutcome } from '../../flow/completion/completion.ts'
import type { Denial, Intake, SubmitRequest } from '../../flow/intake/intake.ts'
import { endNow, type StoppingContext, stopRun, stopScope } from '../../flow/stopping/stopping.ts'
import { AppError, deserializeError, type SerializedError } from '../../foundation/app-error.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { Json } from '../../foundation/json.ts'
import { type Database, snapshot } from '../../foundation/storage/storage.ts'
import { knownRun } from './known-run.ts'
import { pastChange } from './past-change.ts'
import {
  type PauseInput,
  type PauseResult,
  pauseRun,
  type ResumeAllInput,
  type ResumeAllResult,
  type ResumeInput,
  type ResumeResult,
  resumeAll,
  resumeRun,
} from './run-pauses.ts'
import { type RunReport, reportOf } from './run-report.ts'
import type { RunResults } from './run-results.ts'
import { type SentSignal, type SignalInput, type SignalParts, sendSignal } from './send-signal.ts'
import {
  agentOf,
  countStopped,
  noteOf,
  STOP_WAIT_MS,
  type StopAllInput,
  type StopAllResult,
  type StopInput,
} from './stop-input.ts'

/**
 * A submitted run. `result()` resolves to its output, or rejects with the error that it ended with; with `RUNTIME_CLOSED`
 * when its runtime is closed before that.
 */
export interface RunHandle {
  readonly runId: string
  readonly tenantId: string
  /** True when the idempotency key had been used for the same request: this is that run. */
  readonly deduplicated: boolean
  /** Why governance refused it; null when it was queued. */
  readonly denial: Denial | null
  result(): Promise<Json>
}

/** Runs, as programs use them. */
export interface RunsApi {
  submit(request: SubmitRequest): Promise<RunHandle>
  /** Waits for a run's end: its output, or its error. Fails with `RUN_NOT_FOUND` and `RUNTIME_CLOSED`. */
  result(tenantId: string, runId: string): Promise<Json>
  /** Everything that is known of a run; fails with `RUN_NOT_FOUND`. `tenantId` null: of any tenant, for operators. */
  get(tenantId: string | null, runId: string): Promise<RunReport>
  /** A page of a tenant's runs (`default` unless given), newest first; 50 unless `limit` says another number to 1,000. */
  list(filter: Partial<RunFilter>): Promise<RunSummary[]>
  /**
   * Sends a signal to a step that waits for it (`step.waitFor`), or keeps it for one that will. Fails with `INVALID_INPUT`
   * when it does not fit what the step waits for, `RUN_NOT_FOUND`, `RUN_ENDED`, `TOO_MANY_SIGNALS`, `INPUT_TOO_LARGE`, and
   * `IDEMPOTENCY_CONFLICT` when the id was used for another signal.
   *
   * @example await concordat.runs.signal('default', runId, 'payment', { amount: 12 }, { by: 'shop', id: 'order-7' })
   */
  signal(tenantId: string, runId: string, name: string, payload?: Json, input?: SignalInput): Promise<SentSignal>
  /**
   * Pauses a run before its next step: at once where nobody executes it. Fails with `RUN_PAUSED` when it is paused or
   * about to be, and with `RUN_ENDED` when it is past pausing.
   */
  pause(tenantId: string, runId: string, input: PauseInput): Promise<PauseResult>
  /**
   * Ends a run's pause, once. Fails with `RESUME_FORBIDDEN` when the authority may not, which is recorded, and with
   * `RUN_NOT_PAUSED` (and the state) when there is no pause to end.
   */
  resume(tenantId: string, runId: string, input: ResumeInput): Promise<ResumeResult>
  /**
   * Ends the pauses of a tenant's runs, or of those of an agent or a reason, each as `resume` does and as far as the
   * authority may. Fails with `UNKNOWN_TENANT` and `INVALID_REQUEST`.
   *
   * @example await concordat.runs.resumeAll({ tenant: 'default', reason: 'POLICY_CHANGE', by: 'ada', as: 'OPERATOR' })
   */
  resumeAll(input: ResumeAllInput): Promise<ResumeAllResult>
  /** Fails with `RUN_NOT_FOUND`, and with `RUN_ENDED` (and the final state) when the run is past stopping. */
  stop(tenantId: string, runId: string, input?: StopInput): Promise<'cancelled' | 'requested'>
  /**
   * Stops all of a tenant's runs, or those of an agent, or those that a policy is in scope for, and resolves when their
   * steps have ended, or `waitMs` later (10 s unless given). Fails with `UNKNOWN_TENANT` and `POLICY_NOT_FOUND`.
   *
   * @example await concordat.runs.stopAll({ tenant: 'default', agent: 'triage', by: 'ada', why: 'it loops' })
   */
  stopAll(input: StopAllInput): Promise<StopAllResult>
  /** Forces a try to complete a run that its domains had refused. Fails with `RUN_ENDED` when nothing is pending. */
  finalize(tenantId: string, runId: string): Promise<CompletionOutcome>
}

export interface RunsApiParts extends SignalParts {
  readonly database: Database
  readonly intake: Intake
  readonly completion: CompletionContext
  readonly results: RunResults
  readonly stopping: StoppingContext
  readonly clock: Clock
}

const LIST_DEFAULT = 50
const LIST_MAX = 1_000

export function createRunsApi(parts: RunsApiParts): RunsApi {
  const { database, intake, kernel, completion, results, codec, stopping } = parts

  async function result(tenantId: string, runId: string): Promise<Json> {
    const ended = await results.ended({ tenantId, runId })
    if (ended.status === 'succeeded') return ended.output === null ? null : codec.decode(ended.output)
    throw endError(ended)
  }

  const known = (tenantId: string | null, runId: string) => knownRun(database, tenantId, runId)

  return {
    async submit(request) {
      const submitted = await intake.submit(request)
      const { tenant: tenantId } = request
      return { ...submitted, tenantId, result: () => result(tenantId, submitted.runId) }
    },

    async result(tenantId, runId) {
      const run = await known(tenantId, runId)
      return result(run.tenantId, run.runId)
    },

    async get(tenantId, runId) {
      return snapshot(database, async (tx) => reportOf(tx, parts, await knownRun(tx, tenantId, runId)))
    },

    list({ tenantId = 'default', limit = LIST_DEFAULT, ...filter }) {
      return listRuns(database, { ...filter, tenantId, limit: Math.min(Math.max(1, limit), LIST_MAX) })
    },

    async stop(tenantId, runId, note) {
      const run = await known(tenantId, runId)
      const result = await stopRun(stopping, run, { kind: 'stop', ...noteOf(note) })
      if (result !== 'refused') return result
      const now = await known(tenantId, runId)
      if (!isTerminal(now.phase) && now.stop) return 'requested'
      throw pastChange("can't be stopped any more", now)
    },

    async signal(tenantId, runId, name, payload = null, input = {}) {
      return sendSignal(parts, await known(tenantId, runId), name, payload, input)
    },

    async pause(tenantId, runId, input) {
      return pauseRun(kernel, await known(tenantId, runId), input, () => known(tenantId, runId))
    },

    async resume(tenantId, runId, input) {
      const result = await resumeRun(kernel, await known(tenantId, runId), input)
      parts.onWoken()
      return result
    },

    async resumeAll(input) {
      await requireTenant(database, input.tenant)
      const result = await resumeAll(kernel, input)
      parts.onWoken()
      return result
    },

    async stopAll({ tenant: tenantId, agent, policy, waitMs = STOP_WAIT_MS, ...note }) {
      const scope = { tenantId, agent: await agentOf(database, tenantId, agent, policy), inFlight: false }
      const stopped = await stopScope(stopping, scope, { kind: 'stop', ...noteOf(note) })
      return countStopped(database, stopped, waitMs)
    },

    async finalize(tenantId, runId) {
      const run = await known(tenantId, runId)
      const due = await kernel.seizePending(run)
      if (due) return endNow(completion, due)
      throw new AppError('RUN_ENDED', `run ${runId} has nothing to finalise: it is ${run.status} (${run.phase})`, {
        details: { runId, status: run.status, phase: run.phase },
      })
    },
  }
}

function endError({
  status,
  reason,
  error,
  runId,
}: {
  status: RunStatus
  reason: string | null
  error: string | null
  runId: string
}): Error {
  if (error !== null) return deserializeError(JSON.parse(error) as SerializedError)
  const code = status === 'cancelled' ? 'RUN_STOPPED' : 'POLICY_VIOLATION'
  return new AppError(code, `run ${runId} ended as ${status}: ${reason ?? 'no reason given'}`)
}
