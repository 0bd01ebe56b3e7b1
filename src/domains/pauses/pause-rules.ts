/** Why a run is paused; who may resume it follows from that. */
export const PauseReason = Object.freeze({
  POLICY_CHANGE: 'POLICY_CHANGE',
  BUDGET_WARNING: 'BUDGET_WARNING',
  APPROVAL_REQUIRED: 'APPROVAL_REQUIRED',
  INPUT_REQUIRED: 'INPUT_REQUIRED',
  RATE_LIMIT_SOFT: 'RATE_LIMIT_SOFT',
  MANUAL_PAUSE: 'MANUAL_PAUSE',
})
export type PauseReason = keyof typeof PauseReason

/** As what somebody acts on a run. `SYSTEM_AUTO` is Concordat itself. */
export const Authority = Object.freeze({
  TENANT_USER: 'TENANT_USER',
  TENANT_ADMIN: 'TENANT_ADMIN',
  API_KEY_OWNER: 'API_KEY_OWNER',
  OPERATOR: 'OPERATOR',
  SYSTEM_AUTO: 'SYSTEM_AUTO',
})
export type Authority = keyof typeof Authority

/** Who may resume, beside OPERATOR, who always may. Of an approval's pause it holds where no approvers are named. */
const RESUMABLE_BY = Object.freeze({
  POLICY_CHANGE: ['TENANT_ADMIN'],
  BUDGET_WARNING: ['TENANT_ADMIN', 'API_KEY_OWNER'],
  APPROVAL_REQUIRED: ['TENANT_ADMIN'],
  INPUT_REQUIRED: ['TENANT_USER', 'TENANT_ADMIN', 'API_KEY_OWNER'],
  RATE_LIMIT_SOFT: ['TENANT_ADMIN', 'SYSTEM_AUTO'],
  MANUAL_PAUSE: ['TENANT_USER', 'TENANT_ADMIN', 'API_KEY_OWNER'],
}) satisfies { readonly [Reason in PauseReason]: readonly Authority[] }

/** What decides who may resume a pause, and when. */
export interface ResumablePause {
  readonly reason: PauseReason
  /** Who may decide the approval that it waits for; null where none are named. */
  readonly approvers: readonly Authority[] | null
  /** When it was left to operators; null when it was not. */
  readonly escalatedAt: Date | null
}

/** A pause that Concordat itself may resume only when its time has come. */
interface TimedPause extends ResumablePause {
  readonly resumeAt: Date | null
}

/** Pure. Those who may resume the pause now. */
export function authoritiesOf({ reason, approvers, escalatedAt }: ResumablePause): readonly Authority[] {
  if (escalatedAt !== null) return ['OPERATOR']
  const named = reason === PauseReason.APPROVAL_REQUIRED ? approvers : null
  return [...new Set<Authority>([...(named ?? RESUMABLE_BY[reason]), 'OPERATOR'])]
}

/** Pure. */
export function mayResume(pause: ResumablePause, authority: Authority): boolean {
  return authoritiesOf(pause).includes(authority)
}

/** Pure. Why the pause can't be resumed so; null when it can. */
export function whyRefused(pause: TimedPause, authority: Authority, at: Date): string | null {
  const { resumeAt } = pause
  if (!mayResume(pause, authority)) {
    return `${authority} may not resume ${pause.escalatedAt === null ? pause.reason : 'an escalated pause'}, only ${authoritiesOf(pause).join(', ')} may`
  }
  if (authority === Authority.SYSTEM_AUTO && resumeAt !== null && at < resumeAt) {
    return `the rate limit has no room before ${resumeAt.toISOString()}`
  }
  return null
}
