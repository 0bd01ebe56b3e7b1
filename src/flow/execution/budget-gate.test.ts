import { expect, it } from 'vitest'
import type { BudgetLimit, ChargeReply } from '../../domains/budgets/budgets.ts'
import { systemClock } from '../../foundation/clock.ts'
import { silentLogger } from '../../foundation/log.ts'
import type { Lease, StepRow } from '../kernel/kernel.ts'
import { BudgetGate } from './budget-gate.ts'
import type { Recording } from './budget-port.ts'

const run = { tenantId: 'default', runId: 'run', agent: 'works', apiKey: null, ancestors: [] }
const limits: BudgetLimit[] = [
  {
    ...{ name: 'steps', metric: 'steps', scope: 'run', window: 'run', agent: null, max: 100, effect: 'terminate' },
    ...{ policyVersion: 1, previousVersion: 1 },
  },
]
const granted = (settled: bigint): ChargeReply => {
  return { kind: 'granted', broken: [], lines: [{ ahead: 0n, settled, approved: 0n }], policiesVersion: 1 }
}
const row = (key: string, kind: string, status: StepRow['status']) => {
  return { key, kind, status, attempt: 1, tokensIn: null, tokensOut: null, costNanoUsd: null } as unknown as StepRow
}

function openGate(): BudgetGate {
  return new BudgetGate({
    run,
    lease: run as unknown as Lease,
    fresh: true,
    holder: 'holder',
    charge: () => Promise.reject(new Error('nothing is charged without a step')),
    muted: false,
    clock: systemClock,
    random: Math.random,
    log: silentLogger,
    onPolicies: () => undefined,
    onReserving: () => undefined,
    onClosed: () => undefined,
  })
}

it('a step is settled after the charge that brings to the ledger what was reserved for it', async () => {
  const gate = openGate()
  const sent: Recording[] = []
  const written = Promise.withResolvers<null>()
  for (const [key, kind] of [
    ['below', 'run'],
    ['beside', 'do'],
  ] as const) {
    expect(gate.before({ key, kind }, limits)).toBeUndefined()
    gate.begins(key, 1)
  }
  gate.share()
  const write = (until: Promise<null>) => (recording: Recording | null) => {
    if (recording) sent.push(recording)
    return until
  }
  const first = gate.record(row('below', 'run', 'waiting'), write(written.promise))
  const second = gate.record(row('beside', 'do', 'succeeded'), write(Promise.resolve(null)))
  await new Promise((resolve) => setImmediate(resolve))
  expect(sent.map(({ charge }) => charge.lines)).toMatchObject([[{ carried: 2n, release: 1n, settled: 1n }]])
  gate.heard(sent[0]!.charge, granted(1n))
  written.resolve(null)
  await Promise.all([first, second])
  expect(sent[1]?.charge.lines).toMatchObject([{ carried: 0n, release: 1n, settled: 1n }])
})

it('a run far from its limits is closed without a charge, though a step was about to begin', async () => {
  const gate = openGate()
  gate.before({ key: 'a', kind: 'do' }, limits)
  gate.begins('a', 1)
  await gate.record(row('a', 'do', 'succeeded'), async (recording) => {
    expect(recording).toBeNull()
    return null
  })
  gate.before({ key: 'b', kind: 'do' }, limits)
  await gate.close(false)
  expect(gate.reserves).toBe(false)
})
