import type { LanguageModelV4 } from '@ai-sdk/provider'

export interface MeteredAnswer {
  readonly tokensIn: number
  readonly tokensOut: number
}

/** A model whose answers use what they are told to; `before` is waited for, whatever its signal says, if it is not given. */
export function meteredModel(
  modelId: string,
  { tokensIn, tokensOut }: MeteredAnswer,
  before: (signal: AbortSignal | undefined) => Promise<unknown> = async () => undefined,
): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider: 'metered',
    modelId,
    supportedUrls: {},
    async doGenerate({ abortSignal }) {
      await before(abortSignal)
      return {
        content: [{ type: 'text', text: 'answer' }],
        finishReason: { unified: 'stop', raw: undefined },
        usage: {
          inputTokens: { total: tokensIn, noCache: tokensIn, cacheRead: undefined, cacheWrite: undefined },
          outputTokens: { total: tokensOut, text: tokensOut, reasoning: undefined },
        },
        warnings: [],
      }
    },
    doStream: () => Promise.reject(new Error('not needed')),
  }
}
