import { isDeepStrictEqual } from 'node:util'
import type { ActivePolicy } from './policy-rules.ts'

/** One policy when a run started, or was resumed last, and now; null where it was or is not in force. */
export interface PolicyVersions {
  readonly before: ActivePolicy | null
  readonly now: ActivePolicy | null
  /** The version that says that it is disabled, where that is the newest one. */
  readonly disabledBy?: number
}

/** Pure. The policies by name, with the version then and the version now; those that are disabled are in force no more. */
export function versionsOf(
  atStart: readonly ActivePolicy[],
  thereNow: readonly ActivePolicy[],
): ReadonlyMap<string, PolicyVersions> {
  const before = new Map(atStart.filter(isEnabled).map((policy) => [policy.name, policy]))
  const now = new Map(thereNow.map((policy) => [policy.name, policy]))
  const names = new Set([...before.keys(), ...now.keys()])
  return new Map(
    [...names].map((name) => {
      const policy = now.get(name)
      const then = before.get(name) ?? null
      if (!policy || policy.enabled) return [name, { before: then, now: policy ?? null }] as const
      return [name, { before: then, now: null, disabledBy: policy.version }] as const
    }),
  )
}

/** Pure. False for a policy that is kept, and held against no run. */
export function isEnabled({ enabled }: ActivePolicy): boolean {
  return enabled
}

/** Pure. The version now, the one that disables the policy among them; null where it was removed. */
export function versionNow({ now, disabledBy }: PolicyVersions): number | null {
  return now?.version ?? disabledBy ?? null
}

/** Pure. True where what the versions say to people is all that differs. */
function isSameRule(before: ActivePolicy | null, now: ActivePolicy | null): boolean {
  return before !== null && now !== null && isDeepStrictEqual(ruleOf(before), ruleOf(now))
}

function ruleOf(policy: ActivePolicy): object {
  return { ...policy, description: null, version: 0, compiled: null }
}

/**
 * Which version holds for a run under way, and whether the change itself pauses it: by the mode of the version that the
 * run started under, or of the new one where there was none.
 */
export function heldWhileRunning({ before, now }: PolicyVersions): { holds: ActivePolicy | null; changed: boolean } {
  if (before?.version === now?.version || isSameRule(before, now)) return { holds: now, changed: false }
  switch ((before ?? now)?.onChange) {
    case 'live':
      return { holds: now, changed: false }
    case 'pinned':
      return { holds: before, changed: false }
    default:
      return { holds: before, changed: true }
  }
}

/**
 * Which version a run's end is held against: a pinned policy as it was, every other one as it is in force. A change
 * that pauses and that the run ended too soon to be paused for counts, so that ending fast is no way around it.
 */
export function heldAtEnd({ before, now }: PolicyVersions): ActivePolicy | null {
  return (before ?? now)?.onChange === 'pinned' ? before : now
}
