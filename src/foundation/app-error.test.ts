import { describe, expect, it } from 'vitest'
import { AppError, deserializeError, errorCodes, exitCodeOf, serializeError, toAppError } from './app-error.ts'

describe('errors', () => {
  it('take kind and hint from the code, unless the place that throws knows better', () => {
    expect(new AppError('BUS_UNREACHABLE', 'x')).toMatchObject({
      kind: 'retryable',
      hint: errorCodes.BUS_UNREACHABLE.hint,
    })
    expect(new AppError('BUS_UNREACHABLE', 'x', { kind: 'terminal', hint: 'y' })).toMatchObject({
      kind: 'terminal',
      hint: 'y',
    })
  })

  it('each say what to do, in a sentence', () => {
    for (const [code, { hint, meaning }] of Object.entries(errorCodes)) {
      expect(hint, code).toMatch(/^[A-Z].+\.$|}\.$/)
      expect(meaning, code).toMatch(/^[A-Z].+\.$/)
    }
  })

  it('keep an AppError and wrap anything else as INTERNAL with its message and cause', () => {
    const own = new AppError('RUN_ENDED', 'over')
    const foreign = new TypeError('boom')
    expect(toAppError(own)).toBe(own)
    expect(toAppError(foreign)).toMatchObject({ code: 'INTERNAL', message: 'boom', cause: foreign })
    expect(toAppError('a text').message).toBe('a text')
    expect(toAppError({ a: 1 }).message).toBe('{"a":1}')
    expect(toAppError(undefined).message).toBe('undefined')
    expect(toAppError(Object.create(null)).code).toBe('INTERNAL')
    expect(toAppError('x'.repeat(100_000)).message).toHaveLength(8_192)
  })

  it('survive being stored as JSON', () => {
    const error = new AppError('HTTP_FAILED', 'status 503', { details: { status: 503 }, hint: 'wait' })
    const back = deserializeError(JSON.parse(JSON.stringify(serializeError(error))))
    expect(back).toBeInstanceOf(AppError)
    expect(back).toMatchObject({ ...error, message: 'status 503', stack: error.stack })
  })

  it('of foreign kinds keep name, message and code when stored', () => {
    const error = Object.assign(new RangeError('no route'), { code: 'ECONNREFUSED' })
    const back = deserializeError(serializeError(error))
    expect(back).not.toBeInstanceOf(AppError)
    expect(back).toMatchObject({ name: 'RangeError', message: 'no route', code: 'ECONNREFUSED' })
    expect(deserializeError(serializeError('just text')).message).toBe('just text')
  })

  it('decide the exit code of a command', () => {
    expect(exitCodeOf(new AppError('DATABASE_UNREACHABLE', ''))).toBe(4)
    expect(exitCodeOf(new AppError('INVALID_CONFIGURATION', ''))).toBe(3)
    expect(exitCodeOf(new AppError('INVALID_REQUEST', ''))).toBe(2)
    expect(exitCodeOf(new Error('anything'))).toBe(1)
  })
})
