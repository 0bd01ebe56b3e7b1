import {
  applyPolicies,
  type Expressions,
  listPolicies,
  type PolicyChange,
  type PolicyInput,
  parsePolicies,
  policyVersions,
  type StoredPolicy,
} from '../../domains/policies/policies.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Database } from '../../foundation/storage/storage.ts'

import { type PolicyUsage, policyUsage, type UsageOptions } from './policy-usage.ts'
import { type Simulation, type SimulationOptions, simulate } from './simulate-policies.ts'

/** Policies, as programs use them. */
export interface PoliciesApi {
  /**
   * Puts policies in force, all or none. One that is new or has changed gets its next version, one that has not keeps
   * its own; with `prune`, those that are not named are removed. Workers are told at once, so that runs under way meet
   * the change at their next step. Fails with `INVALID_POLICY` and `UNKNOWN_TENANT`, and
   * then leaves everything as it was.
   *
   * @example await concordat.policies.apply('default', [{ name: 'max-cost', metric: 'cost_usd', max: 0.5 }])
   */
  apply(
    tenantId: string,
    policies: readonly PolicyInput[],
    options?: { readonly prune?: boolean },
  ): Promise<PolicyChange[]>
  /** Those in force, by name, the disabled ones among them. */
  list(tenantId: string): Promise<StoredPolicy[]>
  /** All versions of one, the newest first. Fails with `POLICY_NOT_FOUND`. */
  get(tenantId: string, name: string): Promise<StoredPolicy[]>
  /**
   * What is used and reserved of each limit in force now, by its subject. Reads only. Fails with `UNKNOWN_TENANT`.
   *
   * @example const [first] = await concordat.policies.usage('default') // { policy, subject, used, reserved, limit, … }
   */
  usage(tenantId: string, options?: UsageOptions): Promise<PolicyUsage[]>
  /**
   * Tells which verdicts on ended runs would have been others with these policies applied. Reads only. Fails with
   * `INVALID_POLICY` and `UNKNOWN_TENANT`.
   */
  simulate(tenantId: string, policies: readonly PolicyInput[], options?: SimulationOptions): Promise<Simulation>
}

export interface PoliciesApiParts {
  readonly database: Database
  readonly expressions: Expressions
  readonly clock: Clock
  readonly newId: IdSource
  /** Called after a commit that changed policies of the tenant. */
  readonly onChanged: (tenantId: string) => Promise<void>
}

export function createPoliciesApi({ database, expressions, clock, newId, onChanged }: PoliciesApiParts): PoliciesApi {
  return {
    async apply(tenantId, policies, options) {
      const wanted = parsePolicies(policies, expressions)
      const changes = await applyPolicies(database, tenantId, wanted, { ...options, newId, at: clock.now() })
      if (changes.some(({ change }) => change !== 'unchanged')) await onChanged(tenantId)
      return changes
    },
    list: (tenantId) => listPolicies(database, tenantId),
    get: (tenantId, name) => policyVersions(database, tenantId, name),
    async usage(tenantId, options = {}) {
      await requireTenant(database, tenantId)
      return policyUsage(database, tenantId, clock.now(), options)
    },
    async simulate(tenantId, policies, options = {}) {
      await requireTenant(database, tenantId)
      return simulate(database, expressions, tenantId, parsePolicies(policies, expressions), options)
    },
  }
}
