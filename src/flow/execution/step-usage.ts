import type { MeterMetric } from '../../domains/budgets/budgets.ts'
import { isUncosted } from '../../domains/runs/runs.ts'
import type { StepRow } from '../kernel/kernel.ts'
import type { StepBound } from './step-bound.ts'
import type { StepResult } from './step-spec.ts'

/** Steps that are nothing but a wait count when it begins: nothing stays reserved while it lasts. */
const waits = (kind: string) => kind === 'sleep' || kind === 'signal' || kind === 'run'
const isRequest = (kind: string) => kind === 'llm' || kind === 'tool'

/** Pure. What a step that is about to run must find room for, in the unit of the meter. */
export function needOf(metric: MeterMetric, kind: string, bound: StepBound): bigint {
  switch (metric) {
    case 'cost_usd':
      return bound.costNanoUsd ?? 0n
    case 'tokens':
      return BigInt(bound.tokens ?? 0)
    case 'steps':
      return 1n
    case 'tool_calls':
      return kind === 'tool' ? 1n : 0n
    case 'requests_per_minute':
      return isRequest(kind) ? 1n : 0n
  }
}

/** What an attempt of a step used. `null`: nobody knows. */
export interface StepUse {
  readonly amount: bigint | null
  /** True where that is because nobody knows the price. */
  readonly uncosted: boolean
}

/** Pure. What a recorded attempt used: an ended step, or one that will be tried again. */
export function useOf(metric: MeterMetric, row: StepRow): StepUse {
  const ended = row.status === 'succeeded' || row.status === 'failed'
  const counted = (counts: boolean): StepUse => ({ amount: counts ? 1n : 0n, uncosted: false })
  switch (metric) {
    case 'cost_usd':
      return { amount: row.costNanoUsd, uncosted: ended && isUncosted(row) }
    case 'tokens':
      return { amount: tokensOf(row), uncosted: false }
    case 'steps':
      // Of a wait that somebody is asked about first, the one that has begun.
      return counted(waits(row.kind) ? row.status === 'waiting' && row.attempt > 0 : ended)
    case 'tool_calls':
      return counted(ended && row.kind === 'tool')
    case 'requests_per_minute':
      return counted(isRequest(row.kind) && row.attempt > 0) // 0: somebody is asked first, and nothing was called
  }
}

/** Pure. What an aborted step used that told so after all; null where it did not. Its call was made, and it has no row. */
export function useOfAborted(metric: MeterMetric, kind: string, result: StepResult | null): bigint | null {
  switch (metric) {
    case 'cost_usd':
      return result?.costNanoUsd ?? null
    case 'tokens':
      return result === null
        ? null
        : tokensOf({ tokensIn: result.tokensIn ?? null, tokensOut: result.tokensOut ?? null })
    case 'requests_per_minute':
      return isRequest(kind) ? 1n : 0n
    default:
      return 0n
  }
}

function tokensOf({ tokensIn, tokensOut }: Pick<StepRow, 'tokensIn' | 'tokensOut'>): bigint | null {
  return tokensIn === null && tokensOut === null ? null : BigInt(tokensIn ?? 0) + BigInt(tokensOut ?? 0)
}
