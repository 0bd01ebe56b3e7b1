import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, test } from 'vitest'
import type { Secrets } from '../../../domains/agents/agents.ts'
import { AppError } from '../../../foundation/app-error.ts'
import type { Json } from '../../../foundation/json.ts'
import { callModel } from './call-model.ts'
import { llmInvokeSkill } from './llm-invoke.ts'
import { scriptedModel } from './scripted-model.ts'

const signal = new AbortController().signal
const secrets: Secrets = { get: (name) => `secret-${name}` }
const scripted = scriptedModel([
  { when: 'weather', reply: 'Sunny, 20 degrees' },
  { when: 'plan', reply: '{"url":"/x"}' },
])

function requestOf(params: { readonly [key: string]: Json }, given = secrets) {
  const step = llmInvokeSkill({ scripted }).prepare(params)
  if (step.kind !== 'llm') throw new Error('not an llm step')
  return step.request(given)
}

describe('a model that is registered', () => {
  test('is found by its name, and asked as the params say', async () => {
    const request = requestOf({
      model: 'scripted',
      prompt: 'the weather?',
      system: 'Be short',
      temperature: 1,
      maxOutputTokens: 5,
    })
    expect(request).toEqual({
      model: scripted,
      prompt: 'the weather?',
      system: 'Be short',
      temperature: 1,
      maxOutputTokens: 5,
    })
    expect(await callModel(request.model, request, { signal })).toMatchObject({
      result: { text: 'Sunny, 20 degrees' },
      tokensIn: 4,
      tokensOut: 3,
    })
  })

  test.each(['gpt-unknown', 'constructor', '__proto__'])('%j is refused when it is not', (model) => {
    expect(() => requestOf({ model, prompt: '' })).toThrow(
      expect.objectContaining({ code: 'INVALID_PLAN', message: expect.stringContaining('registered: "scripted"') }),
    )
  })

  test('gets the provider options', async () => {
    const mock = new MockLanguageModelV4({
      doGenerate: await scripted.doGenerate({ prompt: [{ role: 'system', content: 'plan' }] }),
    })
    const step = llmInvokeSkill({ mock }).prepare({
      model: 'mock',
      prompt: '',
      providerOptions: { x: { effort: 'low' } },
    })
    if (step.kind !== 'llm') throw new Error('not an llm step')
    const request = step.request(secrets)
    expect(request.model.modelId).toBe(mock.modelId)
    await callModel(request.model, request, { signal })
    expect(mock.doGenerateCalls[0]?.providerOptions).toEqual({ x: { effort: 'low' } })
  })
})

describe('a server that speaks the protocol of OpenAI', () => {
  test('is called with the key from the secrets', async () => {
    const asked: unknown[] = []
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      asked.push(request.url, request.headers.authorization, JSON.parse(body).model)
      response.setHeader('content-type', 'application/json').end(
        JSON.stringify({
          id: 'c-1',
          object: 'chat.completion',
          created: 1,
          model: 'llama-9',
          choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Hi!' } }],
          usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
        }),
      )
    })
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
    try {
      const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
      const request = requestOf({ model: 'llama', prompt: 'Hello', baseUrl, apiKeySecret: 'LLAMA' })
      expect(await callModel(request.model, request, { signal })).toMatchObject({
        result: { text: 'Hi!', finishReason: 'stop' },
        tokensIn: 3,
        tokensOut: 2,
        model: 'llama-9',
        requestedModel: 'llama',
        attributes: { 'gen_ai.provider.name': '127.0.0.1' },
      })
      expect(asked).toEqual(['/v1/chat/completions', 'Bearer secret-LLAMA', 'llama'])
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test('fails in its step, not before, where the secret is missing', async () => {
    const missing = new AppError('SECRET_MISSING', 'no LLAMA')
    const get = () => {
      throw missing
    }
    const request = requestOf(
      { model: 'm', prompt: '', baseUrl: 'http://127.0.0.1:1/v1', apiKeySecret: 'LLAMA' },
      { get },
    )
    await expect(callModel(request.model, request, { signal })).rejects.toBe(missing)
  })
})

describe('the scripted model', () => {
  test('says what it is', () => {
    expect(scripted).toMatchObject({ provider: 'concordat', modelId: 'scripted' })
  })

  test('gives the same answer each time, in whatever order', async () => {
    const ask = async (prompt: string) => (await callModel(scripted, { prompt }, { signal })).result.text
    expect([await ask('plan it'), await ask('weather'), await ask('plan it')]).toEqual([
      '{"url":"/x"}',
      'Sunny, 20 degrees',
      '{"url":"/x"}',
    ])
  })

  test('has no answer to what is not in its script', async () => {
    await expect(callModel(scripted, { prompt: 'else' }, { signal })).rejects.toThrow(
      expect.objectContaining({ code: 'MODEL_FAILED', kind: 'terminal' }),
    )
  })

  test('streams the same answer', async () => {
    const { stream } = await scripted.doStream({ prompt: [{ role: 'system', content: 'weather' }] })
    const parts: LanguageModelV4StreamPart[] = []
    for await (const part of stream) parts.push(part)
    expect(parts.flatMap((part) => (part.type === 'text-delta' ? [part.delta] : []))).toEqual(['Sunny, 20 degrees'])
    expect(parts.at(-1)).toMatchObject({ type: 'finish', usage: { outputTokens: { total: 3 } } })
  })
})
