import { describe, expect, it } from 'vitest'
import type { LlmRequest, RecordedStep } from '../../domains/agents/agents.ts'
import { checkLlmRequest, checkOptions, checkRecordedStep, checkWork } from './step-arguments.ts'

const recorded = { kind: 'tool', name: 'search', input: null, output: null }
const model = { modelId: 'm', doGenerate: () => undefined }
const refusal = (check: () => void) => {
  try {
    check()
    return null
  } catch (error) {
    return error
  }
}

describe('what an agent hands to a step', () => {
  it.each([
    ['kind', { ...recorded, kind: undefined }],
    ['kind', { ...recorded, kind: 'x\0y' }],
    ['kind', { ...recorded, kind: 'do' }],
    ['error', { ...recorded, error: new Error('no') }],
    ['tokensIn', { ...recorded, tokensIn: -1 }],
    ['tokensIn', { ...recorded, tokensIn: 1.5 }],
    ['tokensOut', { ...recorded, tokensOut: '7' }],
    ['costUsd', { ...recorded, costUsd: Number.NaN }],
    ['costUsd', { ...recorded, costUsd: 1e12 }],
    ['latencyMs', { ...recorded, latencyMs: Number.POSITIVE_INFINITY }],
    ['attributes', { ...recorded, attributes: [1] }],
  ])('to be recorded is refused by the name of its field: %s of %j', (field, step) => {
    const message = expect.stringMatching(new RegExp(`^${field} of .*must be`))
    const error = refusal(() => checkRecordedStep(step as unknown as RecordedStep))
    expect(error).toMatchObject({ code: 'INVALID_REQUEST', message })
  })

  it.each([
    ['step.record takes an object, not "search"', () => checkRecordedStep('search' as unknown as RecordedStep)],
    ['work of step "x" must be a function, not 5', () => checkWork('x', 5)],
    ['options of step "x" must be an object, not null', () => checkOptions('x', null)],
    ['retry of step "x" must be an object, not null', () => checkOptions('x', { retry: null })],
    ['retry of step "x" must be an object, not 3', () => checkOptions('x', { retry: 3 })],
    ['request of step "x" must be', () => checkLlmRequest('x', undefined as unknown as LlmRequest)],
    ['model of step "x" must be', () => checkLlmRequest('x', {} as LlmRequest)],
    ['model of step "x" must be', () => checkLlmRequest('x', { model: 'gpt', prompt: '' } as unknown as LlmRequest)],
    ['prompt of step "x" must be', () => checkLlmRequest('x', { model } as unknown as LlmRequest)],
  ])('is refused with the reason: %s', (message, check) => {
    expect(refusal(check)).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringContaining(message) })
  })

  it.each([
    ['NOT_SERIALIZABLE', { spent: 1n }],
    ['INPUT_TOO_LARGE', { text: 'x'.repeat(4_194_304) }],
  ])('is refused with attributes that can’t be kept: %s', (code, attributes) => {
    const step = { ...recorded, attributes } as unknown as RecordedStep
    expect(refusal(() => checkRecordedStep(step))).toMatchObject({ code })
  })

  it('is let pass where it is what its type says', () => {
    const used = { tokensIn: 0, tokensOut: null, costUsd: 0.1, latencyMs: 0.5, attributes: {}, error: null }
    checkRecordedStep({ ...recorded, ...used } as RecordedStep)
    checkRecordedStep(recorded as RecordedStep)
    checkWork('x', () => 1)
    checkOptions('x', undefined)
    checkOptions('x', { retry: { maxAttempts: 1 } })
    checkLlmRequest('x', { model, prompt: 'hi' } as unknown as LlmRequest)
  })
})
