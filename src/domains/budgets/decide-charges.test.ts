import { describe, expect, it } from 'vitest'
import type { Charge, ChargeLine } from './charge.ts'
import { type DecidedCharges, decideCharges, heldKey, type LedgerRow, type LedgerState } from './decide-charges.ts'
import { type BudgetLimit, type Meter, meterKey } from './meter.ts'

const meter = (subject: string, period: Meter['period'] = 'day'): Meter => ({
  tenantId: 'acme',
  subject,
  metric: 'tokens',
  period,
  periodStart: new Date(0),
})
const limit = (max: number, more: Partial<BudgetLimit> = {}): BudgetLimit => ({
  name: 'p',
  metric: 'tokens',
  scope: 'tenant',
  window: 'day',
  agent: null,
  max,
  effect: 'terminate',
  policyVersion: 1,
  previousVersion: 1,
  ...more,
})
const line = (of: Meter, limits: BudgetLimit[], changes: Partial<ChargeLine>): ChargeLine => ({
  meter: of,
  key: meterKey(of),
  limits,
  carried: 0n,
  release: 0n,
  releaseApproved: 0n,
  need: 0n,
  begun: 0n,
  joins: false,
  recounts: false,
  ahead: 0n,
  settled: 0n,
  overrun: 0n,
  estimated: 0n,
  unrecorded: 0n,
  uncosted: 0,
  overDeclared: false,
  ...changes,
})
const charge = (runId: string, ...lines: ChargeLine[]): Charge => {
  return { tenantId: 'acme', runId, holder: `of ${runId}`, lines, force: false, approved: false, opens: false }
}
const NOTHING: LedgerState = {
  rows: new Map(),
  used: new Map(),
  held: new Map(),
  policiesVersions: new Map([['acme', 7]]),
}

/** The ledger as it is once that is written. */
function ledgerAfter({ rows, held }: DecidedCharges, before: LedgerState = NOTHING): LedgerState {
  return {
    ...before,
    rows: new Map([...before.rows, ...rows.map((row) => [meterKey(row.meter), row] as const)]),
    held: new Map([...before.held, ...held.map((each) => [heldKey(each.runId, meterKey(each.meter)), each] as const)]),
  }
}
const rowOf = (state: LedgerState, of: Meter): Partial<LedgerRow> | undefined => state.rows.get(meterKey(of))

const tenant = meter('tenant')
const own = (runId: string) => meter(`run/${runId}`, 'run')
const kinds = ({ replies }: DecidedCharges) => replies.map(({ kind }) => kind)
const needs = (amount: bigint, max = 100) => line(tenant, [limit(max)], { need: amount })

describe('charges that share a commit', () => {
  it('are decided in order: each that still fits is granted, whatever was refused before it', () => {
    const decided = decideCharges([charge('a', needs(60n)), charge('b', needs(50n)), charge('c', needs(40n))], NOTHING)
    expect(kinds(decided)).toEqual(['granted', 'contended', 'granted'])
    expect(rowOf(ledgerAfter(decided), tenant)).toMatchObject({ reserved: 100n, settled: 0n })
  })

  it('make room for each other: what is given back and settled comes first', () => {
    const full = ledgerAfter(decideCharges([charge('a', needs(90n))], NOTHING))
    const settles = charge('a', line(tenant, [limit(100)], { release: 90n, settled: 30n }))
    const decided = decideCharges([charge('b', needs(70n)), settles], full)
    expect(kinds(decided)).toEqual(['granted', 'granted'])
    expect(rowOf(ledgerAfter(decided, full), tenant)).toMatchObject({ reserved: 70n, settled: 30n })
  })
})

describe('a need that somebody has approved', () => {
  const asking = limit(100, { effect: 'require_approval' })
  const approved = (runId: string, ...lines: ChargeLine[]) => ({ ...charge(runId, ...lines), approved: true })
  const asks = (need: bigint, ...limits: BudgetLimit[]) => line(tenant, [asking, ...limits], { need })

  it('is reserved beyond the limits that ask for it, as an overrun until it is given back', () => {
    const full = ledgerAfter(decideCharges([charge('a', asks(90n))], NOTHING))
    const decided = decideCharges([charge('b', asks(20n)), approved('c', asks(20n))], full)
    expect(kinds(decided)).toEqual(['contended', 'granted'])
    expect(decided.replies[1]).toMatchObject({ broken: [], lines: [{ approved: 20n }] })
    const after = ledgerAfter(decided, full)
    expect(rowOf(after, tenant)).toMatchObject({ reserved: 110n, overrun: 20n })
    const settled = { release: 20n, releaseApproved: 20n, settled: 30n, overrun: 30n }
    const settling = decideCharges([charge('c', line(tenant, [asking], settled))], after)
    expect(rowOf(ledgerAfter(settling, after), tenant)).toMatchObject({ settled: 30n, reserved: 90n, overrun: 30n })
  })

  it('is an overrun only where it does not fit, and no other limit gives way to it', () => {
    const fits = decideCharges([approved('a', asks(100n))], NOTHING)
    expect(rowOf(ledgerAfter(fits), tenant)).toMatchObject({ reserved: 100n, overrun: 0n })
    expect(kinds(decideCharges([approved('a', asks(120n, limit(110)))], NOTHING))).toEqual(['broken'])
  })
})

describe('a need', () => {
  it('is reserved on all of its lines or on none', () => {
    const nested = charge('a', line(own('a'), [limit(10)], { need: 5n }), line(tenant, [limit(3)], { need: 5n }))
    const decided = decideCharges([nested], NOTHING)
    expect(kinds(decided)).toEqual(['broken'])
    expect([decided.rows, decided.held]).toEqual([[], []])
  })

  it('that only others’ reservations keep out has to wait; that what is spent keeps out is refused', () => {
    const state = ledgerAfter(
      decideCharges([charge('a', line(tenant, [limit(100)], { settled: 30n, need: 60n }))], NOTHING),
    )
    expect(kinds(decideCharges([charge('b', needs(70n))], state))).toEqual(['contended'])
    const refused = decideCharges([charge('b', needs(71n))], state)
    expect(kinds(refused)).toEqual(['broken'])
    expect(refused.replies[0]?.broken).toMatchObject([{ used: 30n, need: 71n, limit: { name: 'p' } }])
  })

  it('of nothing is refused only once the limit is overspent', () => {
    const at = (settled: bigint) =>
      ledgerAfter(decideCharges([charge('a', line(tenant, [limit(100)], { settled }))], NOTHING))
    expect(kinds(decideCharges([charge('b', needs(0n))], at(100n)))).toEqual(['granted'])
    expect(kinds(decideCharges([charge('b', needs(0n))], at(101n)))).toEqual(['broken'])
  })

  it('is granted over a limit that warns, and tells so', () => {
    const warns = line(tenant, [limit(10, { effect: 'warn' })], { need: 11n })
    const decided = decideCharges([charge('a', warns)], NOTHING)
    expect(decided.replies[0]).toMatchObject({ kind: 'granted', broken: [{ limit: { effect: 'warn' } }] })
  })

  it('is granted by force where nothing is refused, and tells so', () => {
    const decided = decideCharges([{ ...charge('a', needs(101n)), force: true }], NOTHING)
    expect(decided.replies[0]).toMatchObject({ kind: 'granted', broken: [{ used: 0n, need: 101n }] })
    expect(rowOf(ledgerAfter(decided), tenant)).toMatchObject({ reserved: 101n })
  })
})

describe('what is reserved ahead', () => {
  const ahead = (amount: bigint) => line(tenant, [limit(100)], { ahead: amount })

  it('leaves a fifth of a shared budget to steps that need it now', () => {
    const decided = decideCharges([charge('a', ahead(80n)), charge('b', ahead(1n))], NOTHING)
    expect(decided.replies.map(({ lines }) => lines[0]?.ahead)).toEqual([80n, 0n])
  })

  it('comes after all needs of the same commit', () => {
    const decided = decideCharges([charge('a', ahead(50n)), charge('b', needs(60n))], NOTHING)
    expect(decided.replies.map(({ kind, lines }) => [kind, lines[0]?.ahead])).toEqual([
      ['granted', 0n],
      ['granted', 0n],
    ])
  })
})

describe('what a run holds', () => {
  it('is given back no further than it is held', () => {
    const state = ledgerAfter(decideCharges([charge('a', needs(10n)), charge('b', needs(10n))], NOTHING))
    const decided = decideCharges([charge('a', line(tenant, [limit(100)], { release: 15n }))], state)
    expect(rowOf(ledgerAfter(decided, state), tenant)).toMatchObject({ reserved: 10n })
  })

  it('is not its old holder’s any more once it has changed hands', () => {
    const state = ledgerAfter(decideCharges([charge('a', needs(10n))], NOTHING))
    const old = { ...charge('a', line(tenant, [limit(100)], { release: 10n, settled: 4n, need: 1n })), holder: 'old' }
    const decided = decideCharges([old], state)
    expect(kinds(decided)).toEqual(['contended'])
    expect(rowOf(ledgerAfter(decided, state), tenant)).toMatchObject({ reserved: 10n, settled: 4n })
  })
})

describe('thresholds', () => {
  const uses = (settled: bigint, limits = [limit(100)]) => charge('a', line(tenant, limits, { settled }))
  const told = (decided: DecidedCharges) => decided.crossings.map(({ limit: { name }, threshold }) => [name, threshold])

  it('are told once a period each, all that one step passes', () => {
    const first = decideCharges([uses(49n)], NOTHING)
    expect(told(first)).toEqual([])
    const half = decideCharges([uses(1n)], ledgerAfter(first))
    expect(told(half)).toEqual([['p', 50]])
    const state = ledgerAfter(half, ledgerAfter(first))
    const most = decideCharges([uses(46n), uses(1n)], state)
    expect(told(most)).toEqual([
      ['p', 80],
      ['p', 95],
    ])
    expect(told(decideCharges([uses(50n)], ledgerAfter(most, state)))).toEqual([])
  })

  it('are each policy’s own', () => {
    const limits = [limit(100, { name: 'soft', effect: 'warn' }), limit(200, { name: 'hard' })]
    expect(told(decideCharges([uses(80n, limits)], NOTHING))).toEqual([
      ['soft', 50],
      ['soft', 80],
    ])
  })

  it('are not told of rates, which start again each minute', () => {
    const rate = { ...meter('tenant', 'minute'), metric: 'requests_per_minute' as const }
    expect(decideCharges([charge('a', line(rate, [limit(1)], { settled: 1n }))], NOTHING).crossings).toEqual([])
  })
})

it('tells the version of the policies that it has seen', () => {
  expect(decideCharges([charge('a', needs(1n))], NOTHING).replies[0]?.policiesVersion).toBe(7)
})

it('keeps amounts within what the database can hold', () => {
  const decided = decideCharges(
    [
      charge('a', line(tenant, [limit(1)], { settled: 2n ** 62n })),
      charge('b', line(tenant, [limit(1)], { settled: 2n ** 63n })),
    ],
    NOTHING,
  )
  expect(rowOf(ledgerAfter(decided), tenant)).toMatchObject({ settled: 2n ** 63n - 1n })
})
