import { describe, expect, it } from 'vitest'
import { Authority, mayResume, PauseReason, whyRefused } from './pause-rules.ts'

const authorities = Object.values(Authority)
const fresh = { approvers: null, escalatedAt: null, resumeAt: null }
const at = new Date('2026-01-01T00:00:00Z')

describe('who may resume a pause', () => {
  it.each<[PauseReason, readonly Authority[]]>([
    ['POLICY_CHANGE', ['TENANT_ADMIN', 'OPERATOR']],
    ['BUDGET_WARNING', ['TENANT_ADMIN', 'API_KEY_OWNER', 'OPERATOR']],
    ['APPROVAL_REQUIRED', ['TENANT_ADMIN', 'OPERATOR']],
    ['INPUT_REQUIRED', ['TENANT_USER', 'TENANT_ADMIN', 'API_KEY_OWNER', 'OPERATOR']],
    ['RATE_LIMIT_SOFT', ['TENANT_ADMIN', 'OPERATOR', 'SYSTEM_AUTO']],
    ['MANUAL_PAUSE', ['TENANT_USER', 'TENANT_ADMIN', 'API_KEY_OWNER', 'OPERATOR']],
  ])('of %s: %j', (reason, may) => {
    expect(authorities.filter((authority) => mayResume({ ...fresh, reason }, authority))).toEqual(may)
  })

  it('is said for every reason', () => {
    for (const reason of Object.values(PauseReason)) expect(mayResume({ ...fresh, reason }, 'OPERATOR')).toBe(true)
  })

  it.each(Object.values(PauseReason))('of %s, once it is escalated: only operators', (reason) => {
    const escalated = { ...fresh, reason, escalatedAt: at, approvers: ['TENANT_USER'] as const }
    expect(authorities.filter((authority) => mayResume(escalated, authority))).toEqual(['OPERATOR'])
  })

  it('of an approval are its approvers where they are named; of other reasons such a list says nothing', () => {
    const approvers = ['API_KEY_OWNER'] as const
    const may = (reason: PauseReason) =>
      authorities.filter((authority) => mayResume({ ...fresh, reason, approvers }, authority))
    expect(may('APPROVAL_REQUIRED')).toEqual(['API_KEY_OWNER', 'OPERATOR'])
    expect(may('POLICY_CHANGE')).toEqual(['TENANT_ADMIN', 'OPERATOR'])
  })

  it('is told to whoever may not, and Concordat itself has to wait until a rate limit has room', () => {
    const limited = { ...fresh, reason: 'RATE_LIMIT_SOFT', resumeAt: new Date(at.getTime() + 1) } as const
    expect(whyRefused(limited, 'TENANT_USER', at)).toBe(
      'TENANT_USER may not resume RATE_LIMIT_SOFT, only TENANT_ADMIN, SYSTEM_AUTO, OPERATOR may',
    )
    expect(whyRefused(limited, 'SYSTEM_AUTO', at)).toContain('no room before 2026-01-01T00:00:00.001Z')
    expect(whyRefused(limited, 'SYSTEM_AUTO', limited.resumeAt)).toBeNull()
    expect(whyRefused(limited, 'TENANT_ADMIN', at)).toBeNull()
    expect(whyRefused({ ...limited, escalatedAt: at }, 'TENANT_ADMIN', at)).toContain(
      'an escalated pause, only OPERATOR',
    )
  })
})
