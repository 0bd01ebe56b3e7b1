import { statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { LimitPolicy, PolicyEffect, PolicyMetric } from './policy-rules.ts'

/** A tenant's policies in force. The version counts every change to any of them; 0: there have never been any. */
export interface PolicySet {
  readonly version: number
  readonly policies: readonly LimitPolicy[]
}

const SELECT_ACTIVE = statement(
  'policies_active_of_tenants',
  `select t.tenant_id, t.policies_version, p.name, p.version, p.agent, p.metric, p.max_value::float8 as max_value, p.effect
     from concordat.tenants t left join concordat.policies p on p.tenant_id = t.tenant_id and p.active
    where t.tenant_id = any($1::text[]) order by t.tenant_id, p.name`,
)

interface PolicyRow {
  readonly tenant_id: string
  readonly policies_version: bigint
  /** Null, as are the others, for a tenant without policies. */
  readonly name: string | null
  readonly version: number
  readonly agent: string | null
  readonly metric: PolicyMetric
  readonly max_value: number
  readonly effect: PolicyEffect
}

/** The policies in force, by tenant, as they were last read: whoever knows the version that is in force needn't read them. */
export class PolicyBook {
  readonly #sets = new Map<string, PolicySet>()

  /** Reads the sets that are in force now. */
  async read(tx: Tx, tenantIds: readonly string[]): Promise<ReadonlyMap<string, PolicySet>> {
    const rows = await tx.query<PolicyRow>(SELECT_ACTIVE, [[...new Set(tenantIds)]])
    const sets = new Map<string, PolicySet>()
    for (const [tenantId, ofTenant] of Map.groupBy(rows, (row) => row.tenant_id)) {
      const policies = ofTenant.flatMap(({ name, version, agent, metric, max_value, effect }) =>
        name === null ? [] : { name, version, agent, metric, maxValue: max_value, effect },
      )
      sets.set(tenantId, { version: Number(ofTenant[0]?.policies_version), policies })
    }
    for (const [tenantId, set] of sets) this.#remember(tenantId, set)
    return sets
  }

  /** The tenant's policies at that version; null when they must be read. */
  at(tenantId: string, version: number): readonly LimitPolicy[] | null {
    if (version === 0) return []
    const set = this.#sets.get(tenantId)
    return set?.version === version ? set.policies : null
  }

  #remember(tenantId: string, set: PolicySet): void {
    this.#sets.delete(tenantId)
    this.#sets.set(tenantId, set)
    const [oldest] = this.#sets.keys()
    if (this.#sets.size > limits.policyTenantsMax && oldest !== undefined) this.#sets.delete(oldest)
  }
}
