import { AISDKError, APICallError, type LanguageModelV4, type LanguageModelV4GenerateResult } from '@ai-sdk/provider'
import type { LlmRequest, LlmResult } from '../../../domains/agents/agents.ts'
import { AppError } from '../../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../../foundation/json.ts'

export interface ModelCall {
  readonly result: LlmResult
  /** Null where the provider does not say. */
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  /** The model that answered, as the provider names it. */
  readonly model: string
  /** The model that was asked for. */
  readonly requestedModel: string
  /** By the OpenTelemetry names in force: https://opentelemetry.io/docs/specs/semconv/gen-ai/ */
  readonly attributes: JsonObject
}

/**
 * Calls the model once; retries are the caller's. The result has the answer's `text`, `finishReason`, its `toolCalls`
 * if there are any, and, where the text is a JSON object, that object's members. Fails with `MODEL_FAILED`, worth a
 * retry where the provider says so, and with the signal's reason when that aborts.
 */
export async function callModel(
  model: LanguageModelV4,
  request: Omit<LlmRequest, 'model'>,
  { signal }: { readonly signal: AbortSignal },
): Promise<ModelCall> {
  const { prompt, system, temperature, maxOutputTokens } = request
  let answer: LanguageModelV4GenerateResult
  try {
    answer = await model.doGenerate({
      prompt: [
        ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
        { role: 'user', content: [{ type: 'text', text: prompt }] },
      ],
      ...(temperature !== undefined && { temperature }),
      ...(maxOutputTokens !== undefined && { maxOutputTokens }),
      abortSignal: signal,
    })
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw failureOf(model, error)
  }
  const { usage, response } = answer
  return {
    result: resultOf(answer),
    tokensIn: tokenCount(usage.inputTokens.total),
    tokensOut: tokenCount(usage.outputTokens.total),
    model: response?.modelId ?? model.modelId,
    requestedModel: model.modelId,
    attributes: attributesOf(model, request, answer),
  }
}

function resultOf({ content, structuredOutputText, finishReason }: LanguageModelV4GenerateResult): LlmResult {
  const text = content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
  const toolCalls = content.flatMap((part) =>
    part.type === 'tool-call' ? [{ id: part.toolCallId, name: part.toolName, input: jsonOrText(part.input) }] : [],
  )
  return {
    ...membersOf(structuredOutputText ?? text),
    text,
    finishReason: finishReason.unified,
    ...(toolCalls.length > 0 && { toolCalls }),
  }
}

function membersOf(text: string): JsonObject {
  if (!/^\s*\{/.test(text)) return {}
  const value = jsonOrText(text)
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {}
}

function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function attributesOf(
  model: LanguageModelV4,
  { temperature, maxOutputTokens }: Omit<LlmRequest, 'model'>,
  { usage, response, finishReason }: LanguageModelV4GenerateResult,
): JsonObject {
  const attributes: Record<string, Json | undefined> = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': model.provider.replace(/\.(chat|responses|messages|completion)$/, ''),
    'gen_ai.request.model': model.modelId,
    'gen_ai.request.temperature': temperature,
    'gen_ai.request.max_tokens': maxOutputTokens,
    'gen_ai.response.id': response?.id,
    'gen_ai.response.model': response?.modelId,
    'gen_ai.response.finish_reasons': [finishReason.unified],
    'gen_ai.usage.input_tokens': tokenCount(usage.inputTokens.total) ?? undefined,
    'gen_ai.usage.output_tokens': tokenCount(usage.outputTokens.total) ?? undefined,
    'gen_ai.usage.cache_read.input_tokens': tokenCount(usage.inputTokens.cacheRead) ?? undefined,
    'gen_ai.usage.cache_creation.input_tokens': tokenCount(usage.inputTokens.cacheWrite) ?? undefined,
  }
  return Object.fromEntries(
    Object.entries(attributes).filter((entry): entry is [string, Json] => entry[1] !== undefined),
  )
}

/** What a provider reports can be anything; what is not a count is not recorded as one. */
function tokenCount(reported: number | undefined): number | null {
  return reported !== undefined && Number.isSafeInteger(reported) && reported >= 0 ? reported : null
}

function failureOf(model: LanguageModelV4, error: unknown): AppError {
  if (error instanceof AppError) return error
  const message = error instanceof Error ? error.message : String(error)
  // The SDK's other errors are about the request; what is not the SDK's comes from the network below it.
  const isRetryable = APICallError.isInstance(error) ? error.isRetryable : !AISDKError.isInstance(error)
  const status = APICallError.isInstance(error) ? error.statusCode : undefined
  return new AppError(
    'MODEL_FAILED',
    `Model ${model.modelId} failed${status ? ` with status ${status}` : ''}: ${message}`,
    {
      kind: isRetryable ? 'retryable' : 'terminal',
      cause: error,
      ...(status !== undefined && { details: { status } }),
    },
  )
}
