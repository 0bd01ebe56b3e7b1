import type { ActivePolicy } from './policy-rules.ts'

/** One policy when a run started, or was resumed last, and now; null where it was or is not in force. */
export interface PolicyVersions {
  readonly before: ActivePolicy | null
  readonly now: ActivePolicy | null
}

/** Pure. The policies by name, with the version then and the version now. */
export function versionsOf(
  atStart: readonly ActivePolicy[],
  inForceNow: readonly ActivePolicy[],
): ReadonlyMap<string, PolicyVersions> {
  const before = new Map(atStart.map((policy) => [policy.name, policy]))
  const now = new Map(inForceNow.map((policy) => [policy.name, policy]))
  const names = new Set([...before.keys(), ...now.keys()])
  return new Map(
    [...names].map((name) => [name, { before: before.get(name) ?? null, now: now.get(name) ?? null }] as const),
  )
}

/**
 * Which version holds for a run under way, and whether the change itself pauses it: by the mode of the version that the
 * run started under, or of the new one where there was none.
 */
export function heldWhileRunning({ before, now }: PolicyVersions): { holds: ActivePolicy | null; changed: boolean } {
  if (before?.version === now?.version) return { holds: now, changed: false }
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
