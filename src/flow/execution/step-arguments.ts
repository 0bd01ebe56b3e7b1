import type { Approver, ChildOptions, LlmRequest, RecordedStep } from '../../domains/agents/agents.ts'
import { AppError } from '../../foundation/app-error.ts'
import { stringifyJson } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'

/*
 * What an agent in plain JavaScript, or one that passes on what a model said, can hand to a step against its type. Told
 * by field and before anything is recorded: found later it is an error of the database or of our own code. By hand,
 * since each step comes through here.
 */

/** Fails with `INVALID_REQUEST` unless it is the function that the step runs. */
export function checkWork(name: string, work: unknown): void {
  if (typeof work !== 'function') throw invalid(name, 'work', 'a function', work)
}

/** Fails with `INVALID_REQUEST` unless options and their `retry` are objects, or left out. */
export function checkOptions(name: string, options: unknown): void {
  if (options === undefined) return
  if (!isRecord(options)) throw invalid(name, 'options', 'an object', options)
  const { retry, approval, onUnknown } = options
  if (retry !== undefined && !isRecord(retry)) throw invalid(name, 'retry', 'an object', retry)
  if (approval !== undefined) checkApproval(name, approval)
  if (onUnknown !== undefined && onUnknown !== 'fail' && onUnknown !== 'ask') {
    throw invalid(name, 'onUnknown', 'fail or ask', onUnknown)
  }
}

const APPROVERS: ReadonlySet<unknown> = new Set([
  'TENANT_USER',
  'TENANT_ADMIN',
  'API_KEY_OWNER',
  'OPERATOR',
] satisfies Approver[])

/** Fails with `INVALID_REQUEST` unless somebody can be asked so. */
export function checkApproval(name: string, approval: unknown): void {
  if (!isRecord(approval)) throw invalid(name, 'approval', 'an object', approval)
  const { message, approvers, timeout } = approval
  if (message !== undefined && typeof message !== 'string') throw invalid(name, 'message', 'text', message)
  if (approvers !== undefined) {
    const known = Array.isArray(approvers) && approvers.length > 0 && approvers.every((each) => APPROVERS.has(each))
    if (!known) throw invalid(name, 'approvers', `a list of ${[...APPROVERS].join(', ')}`, approvers)
  }
  if (timeout !== undefined && !(isWithin(timeout, limits.waitTimeoutMsMax) && timeout !== 0)) {
    throw invalid(name, 'timeout', `1 to ${limits.waitTimeoutMsMax} ms`, timeout)
  }
}

/** Fails with `INVALID_REQUEST` unless it has a prompt and a model of the AI SDK's interface. */
export function checkLlmRequest(name: string, request: LlmRequest): void {
  if (!isRecord(request)) throw invalid(name, 'request', 'an object', request)
  const { model, prompt } = request as { readonly [field: string]: unknown }
  if (!isRecord(model) || typeof model.modelId !== 'string' || typeof model.doGenerate !== 'function') {
    throw invalid(name, 'model', 'a language model of the AI SDK', model)
  }
  if (typeof prompt !== 'string') throw invalid(name, 'prompt', 'text', prompt)
}

/** Fails with `INVALID_REQUEST` unless these can name a child's agent, version and step. */
export function checkChild(agent: unknown, options: ChildOptions): ChildOptions {
  checkOptions(String(agent), options)
  for (const [field, text] of Object.entries({ agent, version: options.version, name: options.name })) {
    if (field === 'agent' ? !isName(text) : text !== undefined && !isName(text))
      throw invalid(agent, field, 'a name', text)
  }
  return options
}

function isName(text: unknown): boolean {
  return typeof text === 'string' && text.length > 0 && text.length <= limits.stepNameCharsMax
}

const ATTRIBUTES_LIMIT = {
  bytesMax: limits.stepOutputBytesMax,
  what: 'attributes of a step',
  tooLargeCode: 'INPUT_TOO_LARGE',
} as const
const KINDS: ReadonlySet<unknown> = new Set(['llm', 'tool', 'user'] satisfies RecordedStep['kind'][])

/**
 * Fails with `INVALID_REQUEST` for a kind that is none, and counts, amounts and attributes that can't be; with
 * `NOT_SERIALIZABLE` or `INPUT_TOO_LARGE` for attributes that can't be kept.
 */
export function checkRecordedStep(step: RecordedStep): void {
  if (!isRecord(step)) throw new AppError('INVALID_REQUEST', `step.record takes an object, not ${shown(step)}`)
  const { kind, name, error, tokensIn, tokensOut, costUsd, latencyMs, attributes } = step as RecordedStep
  if (!KINDS.has(kind)) throw invalid(name, 'kind', 'llm, tool or user', kind)
  if (!isNullish(error) && typeof error !== 'string') throw invalid(name, 'error', 'text', error)
  for (const [field, tokens] of [
    ['tokensIn', tokensIn],
    ['tokensOut', tokensOut],
  ] as const) {
    if (!isNullish(tokens) && !(Number.isSafeInteger(tokens) && tokens >= 0)) {
      throw invalid(name, field, 'a whole number from 0', tokens)
    }
  }
  if (!isNullish(costUsd) && !isWithin(costUsd, limits.usdMax)) {
    throw invalid(name, 'costUsd', `a number from 0 to ${limits.usdMax}`, costUsd)
  }
  if (!isNullish(latencyMs) && !isWithin(latencyMs, Number.MAX_VALUE)) {
    throw invalid(name, 'latencyMs', 'a number from 0', latencyMs)
  }
  if (isNullish(attributes)) return
  if (!isRecord(attributes)) throw invalid(name, 'attributes', 'an object', attributes)
  stringifyJson(attributes, ATTRIBUTES_LIMIT)
}

function isWithin(value: unknown, max: number): boolean {
  return typeof value === 'number' && value >= 0 && value <= max
}

function isNullish(value: unknown): value is null | undefined {
  return value === null || value === undefined
}

function isRecord(value: unknown): value is { readonly [field: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const SHOWN_CHARS = 40

function invalid(name: unknown, field: string, expected: string, value: unknown): AppError {
  const step = typeof name === 'string' ? ` of step ${shown(name)}` : ' of a step'
  return new AppError('INVALID_REQUEST', `${field}${step} must be ${expected}, not ${shown(value)}`)
}

/** Short, and of objects no more than what they are: they may be large, or hold secrets. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, SHOWN_CHARS))
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
