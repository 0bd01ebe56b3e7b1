import { nanoFromUsd, usdFromNano } from '../../foundation/money.ts'

/** What the ledger counts. Money in nano-dollars, the others as they are. */
export const METER_METRICS = ['cost_usd', 'tokens', 'steps', 'tool_calls', 'requests_per_minute'] as const
export type MeterMetric = (typeof METER_METRICS)[number]
export type MeterPeriod = 'run' | 'minute' | 'hour' | 'day' | 'month'

/** One row of the ledger: whose use of what is added up, from when on. */
export interface Meter {
  readonly tenantId: string
  /** `run/ID`, `agent/NAME`, `tenant`, `key/ID`, `key/ID/agent/NAME`. */
  readonly subject: string
  readonly metric: MeterMetric
  readonly period: MeterPeriod
  readonly periodStart: Date
}

/** A limit as a policy sets it, for whatever version of it holds for the run. */
export interface BudgetLimit {
  readonly name: string
  readonly metric: string
  readonly scope: 'run' | 'agent' | 'tenant' | 'api_key'
  readonly window: MeterPeriod
  /** Only runs of this agent; null: of every agent. */
  readonly agent: string | null
  readonly max: number
  readonly effect: 'terminate' | 'pause' | 'require_approval' | 'warn'
  /** In force now; null when it is not any more. */
  readonly policyVersion: number | null
  /** In force when the run started; null when it was not there. */
  readonly previousVersion: number | null
  /** The run is to pause before it holds for it: what is under way counts, and breaks nothing. */
  readonly pending?: boolean
}

/** The limits that bound one meter. */
export interface BoundMeter {
  readonly meter: Meter
  /** Its `meterKey`. */
  readonly key: string
  readonly limits: readonly BudgetLimit[]
}

/** Whose use a run's steps are. */
export interface BudgetedRun {
  readonly tenantId: string
  readonly runId: string
  readonly agent: string
  /** The id of the key that submitted it; null: none did. */
  readonly apiKey: string | null
  /** The runs that wait for this one, its parent first: what it uses, they use. */
  readonly ancestors: readonly { readonly runId: string; readonly agent: string }[]
}

/** Pure. One text for one row of the ledger, in the order in which rows are locked. */
export function meterKey({ tenantId, subject, metric, period, periodStart }: Meter): string {
  return `${tenantId}\n${subject}\n${metric}\n${period}\n${periodStart.getTime()}`
}

/** True for a meter that only the steps of this run, and of those that it starts, move. */
export function isMeterOfRun({ subject }: Meter, runId: string): boolean {
  return subject === `run/${runId}`
}

export function isMeterMetric(metric: string): metric is MeterMetric {
  return (METER_METRICS as readonly string[]).includes(metric)
}

/**
 * Pure. The meters that a run's steps move at this time, each with its limits, the narrowest scope first. A limit for one
 * agent counts that agent's runs alone, so with scope `tenant` it is that agent's meter.
 */
export function metersOf(run: BudgetedRun, limits: readonly BudgetLimit[], at: Date): BoundMeter[] {
  const bound = new Map<string, { meter: Meter; key: string; limits: BudgetLimit[] }>()
  for (const limit of limits) {
    const { metric, window } = limit
    if (!isMeterMetric(metric)) continue
    for (const subject of subjectsOf(run, limit)) {
      const meter = { tenantId: run.tenantId, subject, metric, period: window, periodStart: periodStart(window, at) }
      const key = meterKey(meter)
      const found = bound.get(key)
      if (found) found.limits.push(limit)
      else bound.set(key, { meter, key, limits: [limit] })
    }
  }
  return [...bound.values()]
}

function subjectsOf(run: BudgetedRun, { scope, agent }: BudgetLimit): string[] {
  const applies = agent === null || agent === run.agent
  switch (scope) {
    case 'run': {
      const runs = [run, ...run.ancestors].filter((each) => agent === null || agent === each.agent)
      return runs.map(({ runId }) => `run/${runId}`)
    }
    case 'agent':
      return applies ? [`agent/${run.agent}`] : []
    case 'tenant':
      return applies ? [agent === null ? 'tenant' : `agent/${agent}`] : []
    case 'api_key':
      return applies && run.apiKey !== null ? [`key/${run.apiKey}${agent === null ? '' : `/agent/${agent}`}`] : []
  }
}

const EPOCH = new Date(0)

/** Pure. When the calendar period in which `at` lies has begun, in UTC; the epoch for a run. */
export function periodStart(period: MeterPeriod, at: Date): Date {
  const [year, month, day] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()]
  switch (period) {
    case 'run':
      return EPOCH
    case 'minute':
      return new Date(Math.floor(at.getTime() / 60_000) * 60_000)
    case 'hour':
      return new Date(Math.floor(at.getTime() / 3_600_000) * 3_600_000)
    case 'day':
      return new Date(Date.UTC(year, month, day))
    case 'month':
      return new Date(Date.UTC(year, month, 1))
  }
}

/** Pure. When the period ends and the next one begins; null for a run, which has one only. */
export function periodEnd(period: MeterPeriod, start: Date): Date | null {
  switch (period) {
    case 'run':
      return null
    case 'minute':
      return new Date(start.getTime() + 60_000)
    case 'hour':
      return new Date(start.getTime() + 3_600_000)
    case 'day':
      return new Date(start.getTime() + 86_400_000)
    case 'month':
      return new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1, 1))
  }
}

/** What a limit allows, in the meter's unit. */
export function amountOf({ metric, max }: Pick<BudgetLimit, 'metric' | 'max'>): bigint {
  if (metric !== 'cost_usd') return BigInt(Math.floor(max))
  return max <= USD_EXACT_MAX ? nanoFromUsd(max) : BigInt(Math.floor(max)) * 1_000_000_000n
}
const USD_EXACT_MAX = 1_000_000_000

/** The amount in the unit of the policy's metric, for people and events. */
export function shownAmount(metric: string, amount: bigint): number {
  return metric === 'cost_usd' ? usdFromNano(amount) : Number(amount)
}
