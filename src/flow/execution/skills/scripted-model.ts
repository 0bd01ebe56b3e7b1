import type { LanguageModelV4, LanguageModelV4Prompt, LanguageModelV4Usage } from '@ai-sdk/provider'
import { AppError } from '../../../foundation/app-error.ts'

export interface ScriptedReply {
  /** Answers prompts that hold this text; every prompt where it is left out. */
  readonly when?: string
  readonly reply: string
}

/**
 * Returns a language model that thinks nothing: it answers with the first reply of the script whose `when` is in the
 * prompt, for demos and tests without a key, and says so by its name `scripted`. It keeps no state, so a repeated call
 * gets the same answer. Tokens are counted as words. Fails with `MODEL_FAILED` where no reply fits.
 */
export function scriptedModel(script: readonly ScriptedReply[]): LanguageModelV4 {
  const replyTo = (prompt: string): string => {
    const found = script.find(({ when = '' }) => prompt.includes(when))
    if (found) return found.reply
    throw new AppError('MODEL_FAILED', 'The scripted model has no reply to this prompt', { kind: 'terminal' })
  }
  return {
    specificationVersion: 'v4',
    provider: 'concordat',
    modelId: 'scripted',
    supportedUrls: {},
    async doGenerate({ prompt }) {
      const asked = textOf(prompt)
      const text = replyTo(asked)
      return {
        content: [{ type: 'text', text }],
        finishReason: { unified: 'stop', raw: undefined },
        usage: usageOf(asked, text),
        warnings: [],
      }
    },
    async doStream({ prompt }) {
      const asked = textOf(prompt)
      const text = replyTo(asked)
      return {
        stream: new ReadableStream({
          start(controller) {
            controller.enqueue({ type: 'stream-start', warnings: [] })
            controller.enqueue({ type: 'text-start', id: '1' })
            controller.enqueue({ type: 'text-delta', id: '1', delta: text })
            controller.enqueue({ type: 'text-end', id: '1' })
            controller.enqueue({
              type: 'finish',
              finishReason: { unified: 'stop', raw: undefined },
              usage: usageOf(asked, text),
            })
            controller.close()
          },
        }),
      }
    },
  }
}

function textOf(prompt: LanguageModelV4Prompt): string {
  return prompt
    .flatMap(({ content }) =>
      typeof content === 'string' ? [content] : content.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
    )
    .join('\n')
}

function usageOf(asked: string, answered: string): LanguageModelV4Usage {
  const input = words(asked)
  const output = words(answered)
  return {
    inputTokens: { total: input, noCache: input, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined },
  }
}

function words(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}
