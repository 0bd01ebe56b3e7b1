export const governanceProfiles = ['STRICT', 'STANDARD', 'OBSERVE_ONLY'] as const
export type GovernanceProfile = (typeof governanceProfiles)[number]

export type PolicyCheckOnError = 'continue' | 'pause'
export type ObservabilityMode = 'STRICT' | 'DEGRADED' | 'PERMISSIVE'

/** The settings that a governance profile decides. */
export interface ProfileSettings {
  readonly eventReactorEnabled: boolean
  readonly midExecutionPolicyCheckEnabled: boolean
  readonly auditAlertsEnabled: boolean
  readonly policyCheckIntervalMs: number
  readonly policyCheckMinSteps: number
  readonly transactionCoordinatorEnabled: boolean
  readonly transactionFallbackToLegacy: boolean
  readonly policyCheckOnError: PolicyCheckOnError
  readonly observabilityMode: ObservabilityMode
  readonly racRollbackAuditEnabled: boolean
}

type ProfileRow<Value> = Readonly<Record<GovernanceProfile, Value>> & {
  /** Which way is tighter: the values from the loosest to the tightest, or for numbers that less is tighter. */
  readonly tighter: readonly Value[] | (Value extends number ? 'lower' : never)
}

const onIsTighter = [false, true] as const
const offIsTighter = [true, false] as const

/** What each profile sets, and which way each setting is tightened. */
export const profileTable: { readonly [Key in keyof ProfileSettings]: ProfileRow<ProfileSettings[Key]> } =
  Object.freeze({
    eventReactorEnabled: { STRICT: true, STANDARD: true, OBSERVE_ONLY: true, tighter: onIsTighter },
    midExecutionPolicyCheckEnabled: { STRICT: true, STANDARD: true, OBSERVE_ONLY: true, tighter: onIsTighter },
    auditAlertsEnabled: { STRICT: true, STANDARD: true, OBSERVE_ONLY: true, tighter: onIsTighter },
    policyCheckIntervalMs: { STRICT: 30_000, STANDARD: 30_000, OBSERVE_ONLY: 30_000, tighter: 'lower' },
    policyCheckMinSteps: { STRICT: 1, STANDARD: 3, OBSERVE_ONLY: 3, tighter: 'lower' },
    transactionCoordinatorEnabled: { STRICT: true, STANDARD: true, OBSERVE_ONLY: true, tighter: onIsTighter },
    transactionFallbackToLegacy: { STRICT: false, STANDARD: true, OBSERVE_ONLY: true, tighter: offIsTighter },
    policyCheckOnError: {
      STRICT: 'pause',
      STANDARD: 'continue',
      OBSERVE_ONLY: 'continue',
      tighter: ['continue', 'pause'],
    },
    observabilityMode: {
      STRICT: 'STRICT',
      STANDARD: 'DEGRADED',
      OBSERVE_ONLY: 'PERMISSIVE',
      tighter: ['PERMISSIVE', 'DEGRADED', 'STRICT'],
    },
    racRollbackAuditEnabled: { STRICT: true, STANDARD: true, OBSERVE_ONLY: true, tighter: onIsTighter },
  })

/** Whether a value is looser than what `STRICT` sets. */
export function loosensStrict<Key extends keyof ProfileSettings>(key: Key, value: ProfileSettings[Key]): boolean {
  const { STRICT, tighter } = profileTable[key]
  return tighter === 'lower' ? value > STRICT : tighter.indexOf(value) < tighter.indexOf(STRICT)
}
