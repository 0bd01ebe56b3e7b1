import { setTimeout as pause } from 'node:timers/promises'
import { type Agent, defineAgent, type Json, type StepApi } from '../../src/index.ts'
import { meteredModel } from '../flow/support/metered-model.ts'

/** One call of a model. */
export interface PlannedCall {
  /** Used; more than is declared is an overrun. */
  readonly tokensOut: number
  /** What is declared; estimated where it is null. */
  readonly maxTokens: number | null
  readonly lastsMs: number
}

/** Calls that run at the same time, then the next ones. */
export type PlannedCalls = readonly (readonly PlannedCall[])[]

/** Its own calls, and at the same time those of the runs that it starts. */
export interface PlannedFamily {
  readonly calls: PlannedCalls
  readonly children: readonly PlannedFamily[]
}

const OUTPUT_TOKENS_MAX = 500

/** Spends as it is told, some of it at the same time. By its price a token out costs 10,000 nano-dollars. */
export function budgetAgents(): Agent[] {
  return [
    defineAgent<PlannedCalls>({ name: 'caller', version: '1', run: ({ input, step }) => makeCalls(step, input) }),
    defineAgent<PlannedFamily>({
      name: 'family',
      version: '1',
      async run({ input: { calls, children }, step }) {
        const below = children.map((child) => step.run('family', child as unknown as Json).catch(() => null))
        await makeCalls(step, calls)
        await Promise.all(below)
      },
    }),
  ]
}

async function makeCalls(step: StepApi, calls: PlannedCalls): Promise<void> {
  for (const together of calls) {
    await Promise.all(
      together.map(({ tokensOut, maxTokens, lastsMs }) => {
        const model = meteredModel('gpt-4o', { tokensIn: 0, tokensOut }, () => pause(lastsMs))
        const declared = maxTokens === null ? {} : { maxTokens, maxCostUsd: maxTokens / 100_000 }
        return step.llm('call', { model, prompt: '', maxOutputTokens: OUTPUT_TOKENS_MAX }, declared)
      }),
    )
    await step.do('think', () => null, { sideEffects: false })
  }
}
