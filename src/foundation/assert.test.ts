import { describe, expect, it } from 'vitest'
import { invariant, unreachable } from './assert.ts'

describe('a broken invariant', () => {
  it('is an INTERNAL error that names what does not hold', () => {
    expect(() => invariant(true, 'fine')).not.toThrow()
    expect(() => invariant(0, 'a lease has a token')).toThrow(
      expect.objectContaining({ code: 'INTERNAL', message: 'Broken invariant: a lease has a token' }),
    )
    expect(() => unreachable('PAUSED' as never)).toThrow('unexpected case PAUSED')
  })
})
