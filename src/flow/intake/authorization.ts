import type { RunEnd } from '../../domains/runs/runs.ts'
import type { ErrorCode } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'

/** Why governance refuses a run that is well-formed. */
export interface Denial {
  readonly code: ErrorCode
  readonly reason: string
}

export interface AuthorizationRequest {
  readonly tenant: string
  readonly agent: string
  readonly input: Json
  readonly metadata: Json
}

/**
 * The user's own say over each submission: true, or why not. It runs before anything is written and outside any
 * transaction; if it throws, the submission fails and nothing is written.
 *
 * @example authorize: ({ tenant }) => tenant === 'default' || 'only the default tenant may run this'
 */
export type Authorize = (request: AuthorizationRequest) => boolean | string | Promise<boolean | string>

export async function askAuthorize(
  authorize: Authorize,
  { tenant, agent, input = null, metadata = null }: { tenant: string; agent: string; input?: Json; metadata?: Json },
): Promise<Denial | null> {
  const answer = await authorize({ tenant, agent, input, metadata })
  if (answer === true) return null
  return { code: 'AUTHORIZATION_DENIED', reason: answer === false ? 'the authorize hook said no' : answer }
}

/** What a tenant's row says about admission. Pure. */
export function admission(
  tenant: { readonly status: string; readonly allowedAgents: readonly string[] | null },
  agent: string,
): Denial | null {
  if (tenant.status === 'suspended') return { code: 'TENANT_SUSPENDED', reason: 'the tenant is suspended' }
  if (tenant.allowedAgents !== null && !tenant.allowedAgents.includes(agent)) {
    return { code: 'AGENT_NOT_ALLOWED', reason: `the tenant's allow list does not name agent ${agent}` }
  }
  return null
}

export function deniedEnd({ code, reason }: Denial): RunEnd {
  const error = { name: 'AppError', code, message: reason }
  return { outcome: 'failed_policy', reason: code, message: reason, error, output: null, lastStepRecorded: false }
}
