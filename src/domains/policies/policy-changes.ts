import { isDeepStrictEqual } from 'node:util'
import type { PolicyDefinition } from './policy-document.ts'

/** A version of a policy as it is stored. */
export interface StoredPolicy {
  readonly name: string
  readonly version: number
  /** True for the version in force; at most one of each name. */
  readonly active: boolean
  readonly definition: PolicyDefinition
  readonly createdAt: Date
  readonly retiredAt: Date | null
}

/** What an apply does to one policy. `version` is in force afterwards, except of what is removed. */
export interface PolicyChange {
  readonly name: string
  readonly change: 'created' | 'changed' | 'unchanged' | 'removed'
  readonly version: number
  /** In force before; null when none was. */
  readonly previousVersion: number | null
  readonly definition: PolicyDefinition
}

/**
 * Pure. What it takes to put the wanted policies in force, given the latest version of each name: a policy that is not
 * in force gets its next version, one that differs too, one that does not keeps its own. What is in force and not wanted
 * stays, or is removed with `prune`.
 */
export function planChanges(
  latest: readonly Pick<StoredPolicy, 'name' | 'version' | 'active' | 'definition'>[],
  wanted: readonly PolicyDefinition[],
  prune: boolean,
): PolicyChange[] {
  const stored = new Map(latest.map((policy) => [policy.name, policy]))
  const changes = wanted.map((definition): PolicyChange => {
    const { name } = definition
    const before = stored.get(name)
    if (!before?.active) {
      return { name, change: 'created', version: (before?.version ?? 0) + 1, previousVersion: null, definition }
    }
    const { version } = before
    return isDeepStrictEqual(before.definition, definition)
      ? { name, change: 'unchanged', version, previousVersion: version, definition }
      : { name, change: 'changed', version: version + 1, previousVersion: version, definition }
  })
  if (!prune) return changes
  const kept = new Set(wanted.map(({ name }) => name))
  const removed = latest.filter(({ active, name }) => active && !kept.has(name))
  return [
    ...changes,
    ...removed.map(({ name, version, definition }): PolicyChange => {
      return { name, change: 'removed', version, previousVersion: version, definition }
    }),
  ]
}
