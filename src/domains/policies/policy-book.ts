import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { Expressions } from './expressions.ts'
import { isLimit, type PolicyDefinition } from './policy-document.ts'
import type { ActivePolicy } from './policy-rules.ts'

/**
 * A tenant's policies, the disabled ones among them, so that who is told of a change is told the version that disables.
 * The version counts every change to any of them; 0: there have never been any.
 */
export interface PolicySet {
  readonly version: number
  readonly policies: readonly ActivePolicy[]
  /** When any of them changed last; null: never. */
  readonly changedAt: Date | null
}

const SELECT_ACTIVE = statement(
  'policies_active_of_tenants',
  `select t.tenant_id, t.policies_version, t.policies_changed_at, p.version, p.definition
     from concordat.tenants t left join concordat.policies p on p.tenant_id = t.tenant_id and p.active
    where t.tenant_id = any($1::text[]) order by t.tenant_id, p.name`,
)

interface PolicyRow {
  readonly tenant_id: string
  readonly policies_version: bigint
  readonly policies_changed_at: Date | null
  readonly version: number
  /** Null for a tenant without policies. */
  readonly definition: PolicyDefinition | null
}

/** The same list each time, so that what is worked out from it is worked out once. */
const NONE: readonly ActivePolicy[] = Object.freeze([])

/** The policies, by tenant, as they were last read: whoever knows the version that is in force needn't read them. */
export class PolicyBook {
  readonly #expressions: Expressions
  readonly #sets = new Map<string, Pick<PolicySet, 'version' | 'policies'>>()

  constructor(expressions: Expressions) {
    this.#expressions = expressions
  }

  /** Reads the sets that are in force now, and compiles their expressions. */
  async read(tx: Tx, tenantIds: readonly string[]): Promise<ReadonlyMap<string, PolicySet>> {
    const rows = await tx.query<PolicyRow>(SELECT_ACTIVE, [[...new Set(tenantIds)]])
    const sets = new Map<string, PolicySet>()
    for (const [tenantId, ofTenant] of Map.groupBy(rows, (row) => row.tenant_id)) {
      const policies = ofTenant.flatMap(({ definition, version }) =>
        definition === null ? [] : this.inForce(definition, version),
      )
      const [first] = ofTenant
      const changedAt = first?.policies_changed_at ?? null
      sets.set(tenantId, { version: Number(first?.policies_version), policies, changedAt })
    }
    for (const [tenantId, set] of sets) this.remember(tenantId, set)
    return sets
  }

  /** A stored version as it is held against runs. */
  inForce(definition: PolicyDefinition, version: number): ActivePolicy {
    return inForce(definition, version, this.#expressions)
  }

  /** The tenant's policies at that version; null when they must be read. */
  at(tenantId: string, version: number): readonly ActivePolicy[] | null {
    if (version === 0) return NONE
    const set = this.#sets.get(tenantId)
    return set?.version === version ? set.policies : null
  }

  /** For who has read a tenant's policies otherwise. */
  remember(tenantId: string, set: Pick<PolicySet, 'version' | 'policies'>): void {
    this.#sets.delete(tenantId)
    this.#sets.set(tenantId, set)
    const [oldest] = this.#sets.keys()
    if (this.#sets.size > limits.policyTenantsMax && oldest !== undefined) this.#sets.delete(oldest)
  }
}

/** A policy as it is held against runs. */
export function inForce(definition: PolicyDefinition, version: number, expressions: Expressions): ActivePolicy {
  if (isLimit(definition)) return { ...definition, version }
  return { ...definition, version, compiled: expressions.compile(definition.when) }
}
