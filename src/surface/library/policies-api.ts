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
import type { Database } from '../../foundation/storage/storage.ts'

import { type Simulation, type SimulationOptions, simulate } from './simulate-policies.ts'

/** Policies, as programs use them. */
export interface PoliciesApi {
  /**
   * Puts policies in force, all or none. One that is new or has changed gets its next version, one that has not keeps
   * its own; with `prune`, those that are not named are removed. Fails with `INVALID_POLICY` and `UNKNOWN_TENANT`, and
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
   * Tells which verdicts on ended runs would have been others with these policies applied. Reads only. Fails with
   * `INVALID_POLICY`.
   */
  simulate(tenantId: string, policies: readonly PolicyInput[], options?: SimulationOptions): Promise<Simulation>
}

export interface PoliciesApiParts {
  readonly database: Database
  readonly expressions: Expressions
}

export function createPoliciesApi({ database, expressions }: PoliciesApiParts): PoliciesApi {
  return {
    async apply(tenantId, policies, options) {
      return applyPolicies(database, tenantId, parsePolicies(policies, expressions), options)
    },
    list: (tenantId) => listPolicies(database, tenantId),
    get: (tenantId, name) => policyVersions(database, tenantId, name),
    async simulate(tenantId, policies, options = {}) {
      return simulate(database, expressions, tenantId, parsePolicies(policies, expressions), options)
    },
  }
}
