import { describe, expect, it } from 'vitest'
import { type BudgetedRun, type BudgetLimit, metersOf, periodEnd, periodStart } from './meter.ts'

const at = new Date('2026-10-25T01:30:45.678Z') // the night in which clocks in Europe are set back
const run: BudgetedRun = { tenantId: 'acme', runId: 'r', agent: 'writer', apiKey: 'k', ancestors: [] }
const limit = (more: Partial<BudgetLimit>): BudgetLimit => ({
  name: 'p',
  metric: 'cost_usd',
  scope: 'run',
  window: 'run',
  agent: null,
  max: 1,
  effect: 'terminate',
  policyVersion: 1,
  previousVersion: 1,
  ...more,
})

describe('a period', () => {
  it.each([
    ['run', '1970-01-01T00:00:00.000Z', null],
    ['minute', '2026-10-25T01:30:00.000Z', '2026-10-25T01:31:00.000Z'],
    ['hour', '2026-10-25T01:00:00.000Z', '2026-10-25T02:00:00.000Z'],
    ['day', '2026-10-25T00:00:00.000Z', '2026-10-26T00:00:00.000Z'],
    ['month', '2026-10-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z'],
  ] as const)(
    '%s begins and ends by the calendar in UTC, whatever the clocks of a country do',
    (period, start, end) => {
      expect(periodStart(period, at).toISOString()).toBe(start)
      expect(periodEnd(period, periodStart(period, at))?.toISOString() ?? null).toBe(end)
    },
  )

  it('of a month ends with its last day, also in December', () => {
    expect(periodEnd('month', new Date('2026-12-01T00:00:00Z'))?.toISOString()).toBe('2027-01-01T00:00:00.000Z')
  })
})

describe('the meters of a run', () => {
  const subjects = (limits: BudgetLimit[], of = run) => metersOf(of, limits, at).map(({ meter }) => meter.subject)
  const day = { window: 'day' } as const

  it.each<[string, Partial<BudgetLimit>, string[]]>([
    ['a run', {}, ['run/r']],
    ['an agent', { scope: 'agent', ...day }, ['agent/writer']],
    ['a tenant', { scope: 'tenant', ...day }, ['tenant']],
    ['a tenant, of one agent: that agent’s', { scope: 'tenant', agent: 'writer', ...day }, ['agent/writer']],
    ['a key', { scope: 'api_key', ...day }, ['key/k']],
    ['a key, of one agent', { scope: 'api_key', agent: 'writer', ...day }, ['key/k/agent/writer']],
    ['another agent: none', { scope: 'tenant', agent: 'reader', ...day }, []],
    ['time: none', { metric: 'wall_clock_seconds' }, []],
  ])('%s', (_what, more, expected) => {
    expect(subjects([limit(more)])).toEqual(expected)
  })

  it('are those of the runs that wait for it too, where the limit is for them', () => {
    const child = { ...run, runId: 'c', agent: 'helper', ancestors: [{ runId: 'r', agent: 'writer' }] }
    expect(subjects([limit({})], child)).toEqual(['run/c', 'run/r'])
    expect(subjects([limit({ agent: 'writer' })], child)).toEqual(['run/r'])
  })

  it('are shared by limits that count the same', () => {
    const meters = metersOf(run, [limit({ name: 'soft', effect: 'warn', max: 1 }), limit({ name: 'hard', max: 2 })], at)
    expect(meters.map(({ limits }) => limits.map(({ name }) => name))).toEqual([['soft', 'hard']])
  })
})
