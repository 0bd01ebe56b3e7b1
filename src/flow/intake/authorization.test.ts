import { describe, expect, it } from 'vitest'
import { admission, askAuthorize, deniedEnd } from './authorization.ts'

const request = { tenant: 't', agent: 'a' }

describe('admission', () => {
  it.each([
    ['active', null, null],
    ['active', ['a', 'b'], null],
    ['active', ['b'], 'AGENT_NOT_ALLOWED'],
    ['active', [], 'AGENT_NOT_ALLOWED'],
    ['suspended', null, 'TENANT_SUSPENDED'],
    ['suspended', ['b'], 'TENANT_SUSPENDED'],
  ])('of a tenant that is %s and allows %j: %s', (status, allowedAgents, code) => {
    expect(admission({ status, allowedAgents }, 'a')?.code ?? null).toBe(code)
  })
})

describe('the user’s authorize hook', () => {
  it.each([
    ['true', true, null],
    ['false', false, { code: 'AUTHORIZATION_DENIED', reason: 'the authorize hook said no' }],
    ['a reason', 'not on Sundays', { code: 'AUTHORIZATION_DENIED', reason: 'not on Sundays' }],
  ])('that answers %s', async (_what, answer, denial) => {
    expect(await askAuthorize(() => answer, request)).toEqual(denial)
    expect(await askAuthorize(async () => answer, request)).toEqual(denial)
  })

  it('hears null for what was left out, and what it throws is not a denial', async () => {
    await askAuthorize((asked) => {
      expect(asked).toEqual({ ...request, input: null, metadata: null })
      return true
    }, request)
    await expect(askAuthorize(() => Promise.reject(new Error('it is down')), request)).rejects.toThrow('it is down')
  })

  it('that denies ends the run as failed_policy with the code and the reason', () => {
    expect(deniedEnd({ code: 'TENANT_SUSPENDED', reason: 'why' })).toMatchObject({
      outcome: 'failed_policy',
      reason: 'TENANT_SUSPENDED',
      message: 'why',
      error: { code: 'TENANT_SUSPENDED', message: 'why' },
    })
  })
})
