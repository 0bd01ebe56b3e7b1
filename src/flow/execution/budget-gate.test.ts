import { describe, expect, it } from 'vitest'
import type { BudgetLimit, Charge, ChargeReply } from '../../domains/budgets/budgets.ts'
import { FakeClock, systemClock } from '../../foundation/clock.ts'
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

function gateOptions() {
  return {
    run,
    lease: run as unknown as Lease,
    fresh: true,
    newId: () => 'holder',
    charge: () => Promise.reject(new Error('nothing is charged without a step')),
    muted: false,
    clock: systemClock,
    random: Math.random,
    log: silentLogger,
    onPolicies: () => undefined,
    onReserving: () => undefined,
    onClosed: () => undefined,
  }
}
const openGate = () => new BudgetGate(gateOptions())

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

/** A gate whose charges are all granted, and kept. */
function grantingGate(startedAt: string) {
  const clock = new FakeClock(Date.parse(startedAt))
  const sent: Charge[] = []
  const charge = async ({ charge }: { charge: Charge }): Promise<ChargeReply> => {
    sent.push(charge)
    const lines = charge.lines.map(() => ({ ahead: 0n, settled: 0n, approved: 0n }))
    return { kind: 'granted', broken: [], lines, policiesVersion: 1 }
  }
  const gate = new BudgetGate({ ...gateOptions(), charge, clock })
  const changes = () => {
    return sent.splice(0).map(({ lines }) => {
      return lines.map(({ meter, need, release, settled, estimated }) => {
        return { since: meter.periodStart.toISOString(), need, release, settled, estimated }
      })
    })
  }
  return { gate, clock, changes, sent }
}
const ofTenant = (window: BudgetLimit['window']): BudgetLimit[] => [
  { ...limits[0]!, name: 'tokens', metric: 'tokens', scope: 'tenant', window },
]
const call = { key: 'a', kind: 'llm', declared: { costNanoUsd: null, tokens: 40 } }

describe('a step that is under way while a period ends', () => {
  it.each([
    ['minute', '2026-12-31T23:59:00.000Z'],
    ['hour', '2026-12-31T23:00:00.000Z'],
    ['day', '2026-12-31T00:00:00.000Z'],
    ['month', '2026-12-01T00:00:00.000Z'],
  ] as const)('of a %s counts in the one in which it has begun, and the next one in the new', async (window, since) => {
    const { gate, clock, changes, sent } = grantingGate('2026-12-31T23:59:59.900Z')
    const bounding = ofTenant(window)
    await gate.before(call, bounding)
    expect(changes()).toEqual([[{ since, need: 40n, release: 0n, settled: 0n, estimated: 0n }]])
    gate.begins('a', 1)
    clock.advance(200)
    await gate.before({ ...call, key: 'b' }, bounding)
    const newYear = '2027-01-01T00:00:00.000Z'
    expect(changes()).toEqual([[{ since: newYear, need: 40n, release: 0n, settled: 0n, estimated: 0n }]])
    await gate.record({ ...row('a', 'llm', 'succeeded'), tokensIn: 25 }, async (recording) => {
      if (recording) sent.push(recording.charge)
      return null
    })
    expect(changes()).toEqual([[{ since, need: 0n, release: 40n, settled: 25n, estimated: 0n }]])
  })
})

describe('an aborted step that says what it used', () => {
  it.each([
    ['in time', 30_000, [[{ settled: -15n, estimated: -40n }]]],
    ['too late', 30_001, []],
  ] as const)('%s, %i ms after it was settled as estimated', async (_when, ms, corrected) => {
    const { gate, clock, changes } = grantingGate('2026-06-01T12:00:00Z')
    await gate.before(call, ofTenant('day'))
    gate.begins('a', 1)
    await gate.close(true)
    expect(changes().at(-1)).toMatchObject([{ release: 40n, settled: 40n, estimated: 40n }])
    clock.advance(ms)
    gate.aborted('a', 1, { output: null, tokensIn: 25 })
    gate.aborted('a', 1, { output: null, tokensIn: 25 }) // a second time
    await new Promise((resolve) => setImmediate(resolve))
    expect(changes()).toMatchObject(corrected)
  })
})
