import { setTimeout as pause } from 'node:timers/promises'
import { type Agent, defineAgent } from '../../src/index.ts'
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

const OUTPUT_TOKENS_MAX = 500

/** Spends as it is told, some of it at the same time. By its price a token out costs 10,000 nano-dollars. */
export function budgetAgents(): Agent[] {
  return [
    defineAgent<PlannedCalls>({
      name: 'caller',
      version: '1',
      async run({ input, step }) {
        for (const together of input) {
          await Promise.all(
            together.map(({ tokensOut, maxTokens, lastsMs }) => {
              const model = meteredModel('gpt-4o', { tokensIn: 0, tokensOut }, () => pause(lastsMs))
              const declared = maxTokens === null ? {} : { maxTokens, maxCostUsd: maxTokens / 100_000 }
              return step.llm('call', { model, prompt: '', maxOutputTokens: OUTPUT_TOKENS_MAX }, declared)
            }),
          )
          await step.do('think', () => null, { sideEffects: false })
        }
      },
    }),
  ]
}
