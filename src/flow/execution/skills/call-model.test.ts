import {
  APICallError,
  type LanguageModelV4,
  type LanguageModelV4GenerateResult,
  LoadAPIKeyError,
} from '@ai-sdk/provider'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, test } from 'vitest'
import { AppError } from '../../../foundation/app-error.ts'
import { callModel } from './call-model.ts'

const signal = new AbortController().signal

function answer(fields: Partial<LanguageModelV4GenerateResult> = {}): LanguageModelV4GenerateResult {
  return {
    content: [{ type: 'text', text: 'Hello' }],
    finishReason: { unified: 'stop', raw: 'end' },
    usage: {
      inputTokens: { total: 10, noCache: 6, cacheRead: 4, cacheWrite: undefined },
      outputTokens: { total: 5, text: 5, reasoning: undefined },
    },
    warnings: [],
    ...fields,
  }
}

const modelOf = (doGenerate: LanguageModelV4GenerateResult | LanguageModelV4['doGenerate']) =>
  new MockLanguageModelV4({ provider: 'openai.chat', modelId: 'gpt-x', doGenerate })

test('a call sends system text, prompt, settings and the signal', async () => {
  const model = modelOf(answer())
  await callModel(model, { prompt: 'Hi', system: 'Be kind', temperature: 0.5, maxOutputTokens: 9 }, { signal })
  expect(model.doGenerateCalls).toEqual([
    {
      prompt: [
        { role: 'system', content: 'Be kind' },
        { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
      ],
      temperature: 0.5,
      maxOutputTokens: 9,
      abortSignal: signal,
    },
  ])
})

test('a call gives text, tokens, the model that answered, and attributes by their OpenTelemetry names', async () => {
  const model = modelOf(answer({ response: { id: 'r-1', modelId: 'gpt-x-2026' } }))
  expect(await callModel(model, { prompt: 'Hi', temperature: 0 }, { signal })).toEqual({
    result: { text: 'Hello', finishReason: 'stop' },
    tokensIn: 10,
    tokensOut: 5,
    model: 'gpt-x-2026',
    requestedModel: 'gpt-x',
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-x',
      'gen_ai.request.temperature': 0,
      'gen_ai.response.id': 'r-1',
      'gen_ai.response.model': 'gpt-x-2026',
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.usage.input_tokens': 10,
      'gen_ai.usage.output_tokens': 5,
      'gen_ai.usage.cache_read.input_tokens': 4,
    },
  })
})

describe('the result', () => {
  const resultOf = async (fields: Partial<LanguageModelV4GenerateResult>) =>
    (await callModel(modelOf(answer(fields)), { prompt: '' }, { signal })).result

  test('has the members of an answer that is a JSON object, but its own text and finish reason', async () => {
    const text = '{"url":"http://x.example/","text":"other","__proto__":{"x":1}}'
    const result = await resultOf({ content: [{ type: 'text', text }] })
    expect(result).toMatchObject({ url: 'http://x.example/', text, finishReason: 'stop' })
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype)
  })

  test.each(['[1]', '{broken', 'null', '"text"', ''])('of %j is just the text', async (text) => {
    expect(await resultOf({ content: [{ type: 'text', text }] })).toEqual({ text, finishReason: 'stop' })
  })

  test('has the tool calls, their input parsed', async () => {
    const result = await resultOf({
      content: [
        { type: 'reasoning', text: 'hm' },
        { type: 'tool-call', toolCallId: '1', toolName: 'fetch', input: '{"a":1}' },
      ],
      finishReason: { unified: 'tool-calls', raw: undefined },
    })
    expect(result).toEqual({
      text: '',
      finishReason: 'tool-calls',
      toolCalls: [{ id: '1', name: 'fetch', input: { a: 1 } }],
    })
  })
})

test.each([undefined, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
  'a token count of %s is not recorded',
  async (total) => {
    const usage = answer().usage
    const model = modelOf(answer({ usage: { ...usage, inputTokens: { ...usage.inputTokens, total } } }))
    const call = await callModel(model, { prompt: '' }, { signal })
    expect(call.tokensIn).toBeNull()
    expect(call.attributes).not.toHaveProperty('gen_ai.usage.input_tokens')
  },
)

describe('a failure', () => {
  const apiError = (statusCode: number) =>
    new APICallError({ message: 'no', url: 'http://x.example/', requestBodyValues: { key: 'secret' }, statusCode })

  test.each([
    ['429 of the provider', apiError(429), 'retryable', 'status 429'],
    ['503 of the provider', apiError(503), 'retryable', 'status 503'],
    ['400 of the provider', apiError(400), 'terminal', 'status 400'],
    ['401 of the provider', apiError(401), 'terminal', 'status 401'],
    ['missing key', new LoadAPIKeyError({ message: 'no key' }), 'terminal', 'no key'],
    ['broken connection', new TypeError('fetch failed'), 'retryable', 'fetch failed'],
  ])('of a %s says whether a retry is worth it', async (_what, thrown, kind, message) => {
    const model = modelOf(() => Promise.reject(thrown))
    await expect(callModel(model, { prompt: '' }, { signal })).rejects.toThrow(
      expect.objectContaining({ code: 'MODEL_FAILED', kind, message: expect.stringContaining(message), cause: thrown }),
    )
  })

  test('that is already one of ours stays as it is', async () => {
    const thrown = new AppError('SECRET_MISSING', 'no key')
    await expect(
      callModel(
        modelOf(() => Promise.reject(thrown)),
        { prompt: '' },
        { signal },
      ),
    ).rejects.toBe(thrown)
  })

  test("is the signal's reason when that aborted the call", async () => {
    const reason = new Error('stopped')
    const model = modelOf(() => Promise.reject(new Error('aborted')))
    await expect(callModel(model, { prompt: '' }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})
