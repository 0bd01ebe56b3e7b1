import type { Agent } from '../../domains/agents/agents.ts'
import { type AuditContract, declareContract } from '../../domains/audit/audit.ts'
import { pendingEnd, RunPhase, type Transition, transition } from '../../domains/runs/runs.ts'
import type { Clock } from '../../foundation/clock.ts'
import { GroupCommit } from '../../foundation/group-commit.ts'
import type { IdSource } from '../../foundation/ids.ts'

import type { PayloadCodec } from '../../foundation/payload-codec.ts'
import { type Database, isRetryable } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type CompletionContext, createGovernanceRecordsForRun } from '../completion/completion.ts'
import type { EagerSlot, NewRun, ParentLink } from '../kernel/kernel.ts'
import { type Authorize, askAuthorize, type Denial, deniedEnd } from './authorization.ts'
import { type ReadRequest, readRequest, type SubmitRequest } from './submit-request.ts'
import { type InsertOutcome, insertBatch, type Submission } from './submit-transaction.ts'

export type { Authorize, Denial } from './authorization.ts'
export type { SubmitRequest } from './submit-request.ts'

export interface IntakeOptions {
  readonly database: Database
  readonly clock: Clock
  readonly newId: IdSource
  readonly random: () => number
  readonly codec: PayloadCodec
  /** Finds an agent, or fails with `UNKNOWN_AGENT`. */
  readonly findAgent: (name: string, version: string | undefined) => Promise<Agent> | Agent
  readonly authorize: Authorize | undefined
  readonly completion: CompletionContext
  readonly runTimeoutMs: number
  readonly retryForMs: number
  /** A slot in this process where a run of the agent can be executed at once; null when there is none. */
  readonly keepSlot: (agent: Agent) => EagerSlot | null
  /** Called after a commit that queued runs. */
  readonly onSubmitted: () => void
}

export interface Submitted {
  readonly runId: string
  /** True when the idempotency key had been used for the same request: this is that run. */
  readonly deduplicated: boolean
  /** Why governance refused: the run exists as `failed_policy`, with its whole footprint. Null when it is queued. */
  readonly denial: Denial | null
}

/** Where runs come in: authorised, inserted with their contract and `run.created` in one transaction, in groups. */
export class Intake {
  readonly #options: IntakeOptions
  readonly #group: GroupCommit<Submission, InsertOutcome>
  readonly #contracts = new Map<number, AuditContract>()

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#group = new GroupCommit({
      name: 'submissions',
      batchMax: limits.submitBatchMax,
      flushersMax: 1,
      queueMax: limits.groupQueueMax,
      retryForMs: options.retryForMs,
      flush: (submissions) => insertBatch(options.database, submissions),
      isRetryable,
      random: options.random,
    })
  }

  /**
   * Resolves after the commit that queued the run. A malformed request fails with a code and leaves no row; a denial
   * by governance is a run that has ended. A child fails with `LEASE_LOST` when its parent is not that lease's any more.
   */
  async submit(request: SubmitRequest, parent: ParentLink | null = null): Promise<Submitted> {
    const { findAgent, authorize, onSubmitted } = this.#options
    const read = readRequest(request, this.#options.codec)
    const agent = await findAgent(read.agent, read.version)
    agent.validateInput(request.input ?? null)
    const denial = authorize ? await askAuthorize(authorize, request) : null
    const submission = this.#submissionOf(read, agent, denial, parent)
    const outcome = await this.#insert(submission)
    if (outcome.refusal) throw outcome.refusal
    const { runId, deduplicated, denial: denied, claim } = outcome
    if (!deduplicated && denied) await this.#endDenied(submission.run, denied)
    else if (!deduplicated && !claim) onSubmitted()
    return { runId, deduplicated, denial: denied }
  }

  async #insert(submission: Submission): Promise<InsertOutcome> {
    const { slot } = submission
    try {
      const outcome = await this.#group.add(submission)
      if (outcome.claim) slot?.begin(outcome.claim)
      else slot?.release()
      return outcome
    } catch (error) {
      slot?.release()
      throw error
    }
  }

  #submissionOf(read: ReadRequest, agent: Agent, denial: Denial | null, parent: ParentLink | null): Submission {
    const { clock, newId, runTimeoutMs } = this.#options
    const at = clock.now()
    const submitted = created(at)
    const timeoutMs = agent.timeoutSeconds === null ? runTimeoutMs : agent.timeoutSeconds * 1_000
    const later = read.runAt !== null && read.runAt > at ? read.runAt : null
    const run: NewRun = {
      tenantId: read.tenant,
      runId: newId(),
      agent: agent.name,
      agentVersion: agent.version,
      agentDigest: agent.digest,
      phase: RunPhase.AUTHORIZED,
      priority: read.priority,
      readyAt: later ? null : at,
      dueAt: later,
      timeoutMs,
      idempotencyKey: read.idempotencyKey,
      requestDigest: read.requestDigest,
      input: read.input,
      metadata: read.metadata,
      pending: null,
      transitions: [submitted, transition(RunPhase.CREATED, RunPhase.AUTHORIZED, submitted.at, 'admitted')],
      ...this.#contractOf(timeoutMs),
      createdAt: at,
      parent,
      apiKeyId: read.apiKeyId,
    }
    const deny = (why: Denial) => deniedRun(run, why, at)
    const slot = denial || later || parent ? null : this.#options.keepSlot(agent)
    return { run: denial ? deny(denial) : run, denial, deny, slot }
  }

  /** As many as agents have timeouts. */
  #contractOf(runTimeoutMs: number): AuditContract {
    const known = this.#contracts.get(runTimeoutMs)
    if (known) return known
    const { expectationDeadlineMs: actionMs, finalizeGraceMs } = limits
    const contract = declareContract({ actionMs, runTimeoutMs, finalizeGraceMs })
    this.#contracts.set(runTimeoutMs, contract)
    return contract
  }

  /** If this process dies here, maintenance ends the run: its end is stored with it. */
  async #endDenied({ tenantId, runId }: NewRun, denial: Denial): Promise<void> {
    const lease = { tenantId, runId, workerId: null, leaseToken: 0 }
    const request = { lease, end: deniedEnd(denial), stop: null, earlierAttempts: 0, known: null }
    await createGovernanceRecordsForRun(this.#options.completion, request)
  }
}

function created(at: Date): Transition {
  return { from: null, to: RunPhase.CREATED, at: at.toISOString(), why: 'submitted' }
}

/** The same run as governance leaves it: never authorised, its end known, ended by whoever comes first. */
function deniedRun(run: NewRun, denial: Denial, at: Date): NewRun {
  const dueAt = new Date(at.getTime() + limits.takeoverMs)
  const pending = pendingEnd(deniedEnd(denial))
  return { ...run, phase: RunPhase.CREATED, readyAt: null, dueAt, pending, transitions: [created(at)] }
}
