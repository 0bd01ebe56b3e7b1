import { type CodeAgent, defineAgent, type RecordedStep } from '../../domains/agents/agents.ts'
import type { Json } from '../../foundation/json.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'
import { type RecordedTrajectory, replayInputSchema, type TrajectoryStep } from './trajectory.ts'

/**
 * The built-in agent `replay`: records each step of a trajectory as it was, errors included, and ends as it ended. The
 * recorded latency is not waited for.
 */
export function replayAgent(): CodeAgent {
  return defineAgent({
    name: 'replay',
    version: '1',
    input: replayInputSchema,
    async run({ input, step }) {
      for (const recorded of input.steps) await step.record(recordedStep(recorded))
      if (input.outcome.status === 'failed') throw new RecordedFailure(input)
      return { steps: input.steps.length, outcome: input.outcome }
    },
  })
}

/** How a replayed run fails: with the recorded error or else the reason why it was terminated. */
class RecordedFailure extends Error {
  override name = 'RecordedFailure'
  readonly code = 'RECORDED_FAILURE'

  constructor({ outcome }: RecordedTrajectory) {
    super(outcome.error || outcome.termination_reason || 'The recorded run failed; why was not recorded.')
  }
}

function recordedStep({
  kind,
  name,
  input = null,
  output = null,
  error,
  tokens_in,
  tokens_out,
  cost_usd,
  latency_ms,
  ...others
}: TrajectoryStep): RecordedStep {
  const shortName = safeText(name, limits.stepNameCharsMax)
  return {
    kind,
    name: shortName,
    input,
    output,
    error: error ?? null,
    tokensIn: tokens_in ?? null,
    tokensOut: tokens_out ?? null,
    costUsd: cost_usd ?? null,
    latencyMs: latency_ms ?? null,
    attributes: { ...(others as { readonly [key: string]: Json }), ...(shortName !== name && { recorded_name: name }) },
  }
}
