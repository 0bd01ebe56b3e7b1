import { expect, it } from 'vitest'
import type { StepRow } from '../kernel/kernel.ts'
import { useOf } from './step-usage.ts'

it.each([
  ['is asked for', 'waiting', 0, 0n],
  ['has failed and is tried again', 'waiting', 1, 1n],
  ['has succeeded', 'succeeded', 1, 1n],
  ['has failed for good', 'failed', 3, 1n],
] as const)('a call that %s counts as a request of its minute, or not', (_what, status, attempt, amount) => {
  const row = { kind: 'tool', status, attempt } as StepRow
  expect(useOf('requests_per_minute', row).amount).toBe(amount)
})
