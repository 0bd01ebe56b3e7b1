import type { LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider'
import { z } from 'zod'
import { defineSkill, type Secrets, type Skill } from '../../../domains/agents/agents.ts'
import { AppError } from '../../../foundation/app-error.ts'

const TEXT_CHARS_MAX = 4_194_304
const NAME_CHARS_MAX = 200

const paramsSchema = z.strictObject({
  /** The name of a registered model; with `baseUrl`, the server's own name of it. */
  model: z.string().min(1).max(NAME_CHARS_MAX),
  prompt: z.string().max(TEXT_CHARS_MAX),
  system: z.string().max(TEXT_CHARS_MAX).optional(),
  temperature: z.number().min(0).max(2).optional(),
  maxOutputTokens: z.int().min(1).optional(),
  /** A server that speaks OpenAI's protocol, as in `http://localhost:11434/v1`. Write it out; never let data choose it. */
  baseUrl: z
    .url({ protocol: /^https?$/ })
    .max(NAME_CHARS_MAX)
    .optional(),
  /** The name of the secret that holds the key for `baseUrl`. */
  apiKeySecret: z.string().min(1).max(NAME_CHARS_MAX).optional(),
  /** Passed to the provider as they are. */
  providerOptions: z.custom<ProviderOptions>((value) => typeof value === 'object' && value !== null).optional(),
})

type LlmInvokeParams = z.output<typeof paramsSchema>
type ProviderOptions = NonNullable<LanguageModelV4CallOptions['providerOptions']>

/**
 * The skill `llm_invoke`: one call of a language model, recorded as a step of kind `llm` with its tokens and cost. The
 * model is one that is registered by name, or one of an OpenAI-compatible server. Fails with `INVALID_PLAN` for a model
 * that is not registered, else as `callModel` does.
 */
export function llmInvokeSkill(models: Readonly<Record<string, LanguageModelV4>>): Skill {
  return defineSkill({
    name: 'llm_invoke',
    params: paramsSchema,
    prepare(params) {
      const { prompt, system, temperature, maxOutputTokens } = params
      const registered = params.baseUrl === undefined ? registeredModel(params.model, models) : undefined
      return {
        kind: 'llm',
        request: (secrets) => ({
          model: withOptions(registered ?? openAiCompatibleModel(params, secrets), params.providerOptions),
          prompt,
          ...(system !== undefined && { system }),
          ...(temperature !== undefined && { temperature }),
          ...(maxOutputTokens !== undefined && { maxOutputTokens }),
        }),
      }
    },
  })
}

function registeredModel(name: string, models: Readonly<Record<string, LanguageModelV4>>): LanguageModelV4 {
  const model = Object.hasOwn(models, name) ? models[name] : undefined
  if (model) return model
  const known =
    Object.keys(models)
      .map((known) => JSON.stringify(known))
      .join(', ') || 'none'
  throw new AppError('INVALID_PLAN', `there is no model ${JSON.stringify(name)}; registered: ${known}`, {
    hint: 'Register the model in concordat.config.ts, or give the baseUrl of an OpenAI-compatible server.',
  })
}

/** Made when it is called: the provider's package is loaded, and its key read, only where it is used. */
function openAiCompatibleModel(
  { model, baseUrl = '', apiKeySecret }: LlmInvokeParams,
  secrets: Secrets,
): LanguageModelV4 {
  const provider = new URL(baseUrl).hostname
  const load = async (): Promise<LanguageModelV4> => {
    const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible')
    const apiKey = apiKeySecret === undefined ? {} : { apiKey: secrets.get(apiKeySecret) }
    return createOpenAICompatible({ name: provider, baseURL: baseUrl, ...apiKey })(model)
  }
  return delegate({ provider, modelId: model, supportedUrls: {} }, load, (options) => options)
}

function withOptions(model: LanguageModelV4, providerOptions: ProviderOptions | undefined): LanguageModelV4 {
  if (!providerOptions) return model
  return delegate(
    model,
    async () => model,
    (options) => ({ ...options, providerOptions }),
  )
}

function delegate(
  { provider, modelId, supportedUrls }: Pick<LanguageModelV4, 'provider' | 'modelId' | 'supportedUrls'>,
  load: () => Promise<LanguageModelV4>,
  adapt: (options: LanguageModelV4CallOptions) => LanguageModelV4CallOptions,
): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider,
    modelId,
    supportedUrls,
    doGenerate: async (options) => (await load()).doGenerate(adapt(options)),
    doStream: async (options) => (await load()).doStream(adapt(options)),
  }
}
