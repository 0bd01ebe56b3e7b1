import { describe, expect, it } from 'vitest'
import { AppError } from '../app-error.ts'
import { databaseError, isRetryable, isUniqueViolation } from './errors.ts'

const coded = (code: string, message = 'no') => Object.assign(new Error(message), { code })

describe('an error of the database', () => {
  it.each([
    ['the server is not there', coded('ECONNREFUSED')],
    ['the connection broke', coded('ECONNRESET')],
    ['the connection ended', new Error('Connection terminated unexpectedly')],
    ['no connection was free in time', new Error('timeout exceeded when trying to connect')],
    ['the server shuts down', coded('57P01')],
    ['the server starts', coded('57P03')],
    ['too many connections', coded('53300')],
    ['a deadlock', coded('40P01')],
    ['a serialization failure', coded('40001')],
    ['a transaction that stood still', coded('25P03')],
  ])('%s: worth another try, DATABASE_UNREACHABLE', (_what, error) => {
    expect(isRetryable(error)).toBe(true)
    const shown = databaseError(error)
    expect(shown).toMatchObject({ code: 'DATABASE_UNREACHABLE', kind: 'retryable', cause: error })
    expect(isRetryable(shown)).toBe(true)
  })

  it.each([
    ['a trigger that refuses', coded('P0001', 'refused')],
    ['a unique violation', coded('23505')],
    ['a missing table', coded('42P01')],
    ['an aborted transaction', coded('25P02')],
    ['a statement timeout', coded('57014')],
    ['a text that it can’t hold', coded('22021')],
    ['anything else', new Error('what')],
  ])('%s: the statement’s own, DATABASE_ERROR, not tried again as it is', (_what, error) => {
    expect(isRetryable(error)).toBe(false)
    const shown = databaseError(error)
    expect(shown).toMatchObject({ code: 'DATABASE_ERROR', kind: 'terminal', message: error.message, cause: error })
    expect(isRetryable(shown)).toBe(false)
  })

  it.each([
    ['a database', coded('3D000', 'database "none" does not exist'), '`createdb none`'],
    ['a role', coded('28000', 'role "nobody" does not exist'), '`createuser nobody`'],
    ['a password', coded('28P01', 'password authentication failed for user "nobody"'), 'createuser --pwprompt nobody'],
    ['an address', coded('28000', 'no pg_hba.conf entry'), 'pg_hba.conf'],
  ])('%s that the server does not take: a wrong configuration, with what to do', (_what, error, hint) => {
    expect(databaseError(error)).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining(error.message),
      hint: expect.stringContaining(hint),
      cause: error,
    })
  })

  it('that is ours already stays as it is', () => {
    const error = new AppError('LEASE_LOST', 'gone')
    expect(databaseError(error)).toBe(error)
  })

  it('says whether a row was there already', () => {
    expect(isUniqueViolation(databaseError(coded('23505')))).toBe(true)
    expect(isUniqueViolation(databaseError(coded('23503')))).toBe(false)
  })
})
