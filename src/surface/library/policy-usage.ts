import { type BudgetLimit, isMeterMetric, shownAmount, usageOf } from '../../domains/budgets/budgets.ts'
import { isLimit, listPolicies } from '../../domains/policies/policies.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Database } from '../../foundation/storage/storage.ts'

/** What is used of a limit by one of its subjects in the period that is now; amounts in the unit of the metric. */
export interface PolicyUsage {
  readonly policy: string
  readonly version: number
  readonly metric: string
  readonly scope: BudgetLimit['scope']
  readonly window: BudgetLimit['window']
  /** `run/ID`, `agent/NAME`, `key/ID`, `tenant`; null: nobody has used anything of it yet. */
  readonly subject: string | null
  /** When the period began; null where that is the run. */
  readonly since: Date | null
  readonly used: number
  readonly reserved: number
  /** Of what is used or reserved: beyond what was reserved for it, or by an approval. */
  readonly overrun: number
  readonly estimated: number
  readonly limit: number
  /** Used and reserved, of the limit; null where that is 0. */
  readonly share: number | null
}

export interface UsageOptions {
  /** How many subjects of each limit, those that use most; 1 to 100, 10 where it is left out. */
  readonly top?: number
}

const TOP_DEFAULT = 10
const TOP_MAX = 100

/** By policy, the subjects that use most first. Policies that are not in the ledger are left out. */
export async function policyUsage(
  database: Database,
  tenantId: string,
  at: Date,
  { top = TOP_DEFAULT }: UsageOptions,
): Promise<PolicyUsage[]> {
  if (!Number.isInteger(top) || top < 1 || top > TOP_MAX) {
    throw new AppError('INVALID_REQUEST', `top is 1 to ${TOP_MAX}, not ${top}`)
  }
  const bounding = (await listPolicies(database, tenantId)).flatMap(({ definition, version }): BudgetLimit[] => {
    if (!definition.enabled || !isLimit(definition) || !isMeterMetric(definition.metric)) return []
    return [{ ...definition, policyVersion: version, previousVersion: version }]
  })
  const uses = Map.groupBy(await usageOf(database, tenantId, bounding, { at, top }), ({ limit }) => limit.name)
  return bounding.flatMap((limit): PolicyUsage[] => {
    const { name: policy, metric, scope, window, max, policyVersion } = limit
    const common = { policy, version: policyVersion ?? 0, metric, scope, window, limit: max }
    const found = uses.get(policy) ?? []
    if (found.length === 0) return [{ ...common, ...UNUSED, share: max === 0 ? null : 0 }]
    return found.map(({ subject, since, settled, reserved, overrun, estimated }) => {
      const amounts = { used: shownAmount(metric, settled), reserved: shownAmount(metric, reserved) }
      return {
        ...common,
        ...amounts,
        subject,
        since: window === 'run' ? null : since,
        overrun: shownAmount(metric, overrun),
        estimated: shownAmount(metric, estimated),
        share: max === 0 ? null : (amounts.used + amounts.reserved) / max,
      }
    })
  })
}

const UNUSED = { subject: null, since: null, used: 0, reserved: 0, overrun: 0, estimated: 0 } as const
