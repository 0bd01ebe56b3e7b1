import { describe, expect, test } from 'vitest'
import type { RecordedStep, StepApi } from '../../domains/agents/agents.ts'
import type { Json } from '../../foundation/json.ts'
import { replayAgent } from './replay-agent.ts'

async function replay(trajectory: { steps: object[]; outcome: object }) {
  const agent = replayAgent()
  const input = agent.validateInput({ source: 's', id: 'i', ...trajectory })
  const recorded: RecordedStep[] = []
  const step = {
    async record(taken: RecordedStep): Promise<Json> {
      recorded.push(taken)
      return taken.output
    },
  } as unknown as StepApi
  const ending = await agent
    .run({
      input,
      step,
      signal: new AbortController().signal,
      secrets: { get: () => '' },
      run: { runId: 'r', tenantId: 't', metadata: null },
    })
    .then(
      (output) => ({ output }),
      (error: Error & { code: string }) => ({ name: error.name, code: error.code, message: error.message }),
    )
  return { ending, recorded }
}

const outcome = { status: 'succeeded', reward: 1 }

describe('a replayed run', () => {
  test('has each step as it was, what is not its own column kept as attributes', async () => {
    const { ending, recorded } = await replay({
      steps: [
        {
          index: 0,
          kind: 'llm',
          name: 'gpt',
          input: { context_steps: [] },
          output: { content: 'hi' },
          tokens_in: 5,
          tokens_out: 2,
          cost_usd: 0.1,
          latency_ms: 12,
          at: '2026-01-01',
          reward: 0,
          requestor: 'user',
        },
        { index: 1, kind: 'tool', name: 'ls', error: 'Traceback', error_from: 'text' },
      ],
      outcome,
    })
    expect(recorded).toEqual([
      {
        kind: 'llm',
        name: 'gpt',
        input: { context_steps: [] },
        output: { content: 'hi' },
        error: null,
        tokensIn: 5,
        tokensOut: 2,
        costUsd: 0.1,
        latencyMs: 12,
        attributes: { index: 0, at: '2026-01-01', reward: 0, requestor: 'user' },
      },
      {
        kind: 'tool',
        name: 'ls',
        input: null,
        output: null,
        error: 'Traceback',
        tokensIn: null,
        tokensOut: null,
        costUsd: null,
        latencyMs: null,
        attributes: { index: 1, error_from: 'text' },
      },
    ])
    expect(ending).toEqual({ output: { steps: 2, outcome } })
  })

  test('keeps a name that is too long or holds NUL in the attributes, and records a short one', async () => {
    const name = `a\0${'b'.repeat(300)}`
    const { recorded } = await replay({ steps: [{ kind: 'tool', name }], outcome })
    expect(recorded[0]?.name).toHaveLength(200)
    expect(recorded[0]?.name).not.toContain('\0')
    expect(recorded[0]?.attributes).toEqual({ recorded_name: name })
  })

  test.each([
    [{ error: 'boom', termination_reason: 'max_steps' }, 'boom'],
    [{ termination_reason: 'max_steps' }, 'max_steps'],
    [{ error: '', termination_reason: 'max_steps' }, 'max_steps'],
    [{}, 'The recorded run failed; why was not recorded.'],
  ])('of a failure with %j fails with %j', async (how, message) => {
    const { ending, recorded } = await replay({
      steps: [{ kind: 'user', name: 'ask' }],
      outcome: { status: 'failed', ...how },
    })
    expect(ending).toEqual({ name: 'RecordedFailure', code: 'RECORDED_FAILURE', message })
    expect(recorded).toHaveLength(1)
  })
})
