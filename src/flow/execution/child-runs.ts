import { AppError, deserializeError, type SerializedError, toAppError } from '../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { usdFromNano } from '../../foundation/money.ts'
import type { PayloadCodec } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import type { Claim, EndedChild, ParentLink, RunOrchestrationKernel } from '../kernel/kernel.ts'

/** The run that a step starts. */
export interface ChildSpec {
  readonly agent: string
  readonly version: string | undefined
  readonly input: Json
}

/** What a child is submitted as. The key makes a second try give the same run. */
export interface ChildRequest extends ChildSpec {
  readonly tenant: string
  readonly idempotencyKey: string
  /** The parent's: what it starts counts in the same limits. */
  readonly apiKeyId: string | undefined
}

/** Submits a child through intake: it may be denied like any run. Fails as a submission does. */
export type StartChild = (
  request: ChildRequest,
  parent: ParentLink,
) => Promise<{ readonly denial: { readonly code: AppError['code']; readonly reason: string } | null }>

export type ChildAnswer =
  | { readonly kind: 'none'; readonly seen: number }
  | { readonly kind: 'failed'; readonly error: Error }
  | { readonly kind: 'succeeded'; readonly result: { readonly output: Json; readonly attributes: JsonObject } }

export interface ChildRunsOptions {
  readonly kernel: Pick<RunOrchestrationKernel, 'awaitChild'>
  readonly startChild: StartChild
  readonly codec: PayloadCodec
  readonly claim: Claim
}

/** The runs that one run's steps start and wait for. */
export class ChildRuns {
  readonly #options: ChildRunsOptions
  #count = 0

  constructor(options: ChildRunsOptions) {
    this.#options = options
  }

  /**
   * Starts the step's child, unless an execution before has, and looks whether it has ended. Fails with `LEASE_LOST` when
   * the parent is no longer this worker's.
   */
  async look(stepKey: string, child: ChildSpec, mayBeThere: boolean): Promise<ChildAnswer> {
    const { kernel, claim } = this.#options
    const key = `child:${claim.runId}:${stepKey}`
    if (++this.#count > limits.childrenPerRunMax) return { kind: 'failed', error: tooMany() }
    for (let start = !mayBeThere; ; start = true) {
      if (start) {
        const error = await this.#start(stepKey, key, child)
        if (error) return { kind: 'failed', error }
      }
      const found = await kernel.awaitChild({ lease: claim, key })
      if (found.kind === 'none') return found
      if (found.kind === 'ended') return this.#ended(child.agent, found.child)
    }
  }

  /** Why it could not be started; null when it was, now or before. */
  async #start(stepKey: string, key: string, child: ChildSpec): Promise<AppError | null> {
    const { startChild, claim } = this.#options
    const { tenantId: tenant, runId, agent, leaseToken, depth, apiKeyId } = claim
    if (depth >= limits.childDepthMax) return tooDeep()
    const ancestors = [{ runId, agent }, ...claim.ancestors]
    const parent = { runId, stepKey, leaseToken, rootRunId: claim.rootRunId ?? runId, depth: depth + 1, ancestors }
    try {
      const { denial } = await startChild(
        { ...child, tenant, idempotencyKey: key, apiKeyId: apiKeyId ?? undefined },
        parent,
      )
      return denial && new AppError(denial.code, `agent ${child.agent} was not started: ${denial.reason}`)
    } catch (error) {
      if (error instanceof AppError && (error.kind === 'retryable' || error.code === 'LEASE_LOST')) throw error
      return toAppError(error)
    }
  }

  #ended(agent: string, child: EndedChild): ChildAnswer {
    const { runId, status, reason, output, error, tokensIn, tokensOut, costNanoUsd } = child
    if (status === 'succeeded') {
      const attributes = {
        childRunId: runId,
        status,
        tokensIn: tokensIn === null ? null : Number(tokensIn),
        tokensOut: tokensOut === null ? null : Number(tokensOut),
        costUsd: costNanoUsd === null ? null : usdFromNano(costNanoUsd),
      }
      return {
        kind: 'succeeded',
        result: { output: output === null ? null : this.#options.codec.decode(output), attributes },
      }
    }
    const cause = error === null ? (reason ?? status) : deserializeError(JSON.parse(error) as SerializedError).message
    const message = `run ${runId} of agent ${agent} ended as ${status}: ${cause}`
    return {
      kind: 'failed',
      error: new AppError('CHILD_FAILED', message, { details: { runId, status, reason: reason ?? '' } }),
    }
  }
}

function tooMany(): AppError {
  return new AppError('TOO_MANY_CHILDREN', `a run can start ${limits.childrenPerRunMax} runs at the most`)
}

function tooDeep(): AppError {
  return new AppError('TOO_MANY_CHILDREN', `runs can start runs ${limits.childDepthMax} levels deep at the most`)
}
