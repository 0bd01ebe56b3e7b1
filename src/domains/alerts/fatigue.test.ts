import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Candidate,
  type FatigueState,
  type HeldBack,
  holdBack,
  NO_FATIGUE,
  notified,
  suppressionOf,
} from './fatigue.ts'

const alert = (subject: string, domain = 'incidents', type = 'MISSING_ACK'): Candidate => ({
  id: subject,
  type,
  subject,
  domain,
})
const missing = alert('incidents/create_incident')

/** Feeds alerts in, as the flow does; tells what came out. */
function play(alerts: readonly (readonly [Candidate, number])[], from: FatigueState = NO_FATIGUE, waitMs = 0) {
  let state = from
  const outcomes = alerts.map(([candidate, nowMs]) => {
    const why = suppressionOf(state, candidate, nowMs)
    state = why ? holdBack(state, why, candidate, nowMs) : notified(state, candidate, nowMs, nowMs + waitMs)
    return why ?? 'SENT'
  })
  return { outcomes, state }
}

const sum = (held: HeldBack) => Object.values(held).reduce((total, n) => total + n, 0)

describe('fatigue control', () => {
  it.each([
    ['the same again within a minute is a duplicate', missing, 59_999, 'DUPLICATE'],
    ['the same of another run is the same', { ...missing, id: 'other' }, 1, 'DUPLICATE'],
    ['after a minute its domain still cools down', missing, 60_000, 'DOMAIN_COOLDOWN'],
    ['another of its domain waits too', alert('incidents/delete_incident'), 1, 'DOMAIN_COOLDOWN'],
    ['after five minutes it goes out again', missing, 300_000, 'SENT'],
    ['another domain is not concerned', alert('logs/start_trace', 'logs'), 1, 'SENT'],
    ['a domain that it does not know cools down like most', alert('x/y', 'x'), 1, 'SENT'],
  ])('%s', (_, candidate, afterMs, outcome) => {
    expect(
      play([
        [missing, 0],
        [candidate, afterMs],
      ]).outcomes[1],
    ).toBe(outcome)
  })

  it.each([
    ['policies', 600_000],
    ['logs', 60_000],
    ['orchestrator', 300_000],
    ['audit', 300_000],
  ])('%s cools down for %i ms', (domain, ms) => {
    const of = (subject: string) => alert(subject, domain)
    expect(
      play([
        [of('a'), 0],
        [of('b'), ms - 1],
        [of('c'), ms],
      ]).outcomes,
    ).toEqual(['SENT', 'DOMAIN_COOLDOWN', 'SENT'])
  })

  it('lets a hundred out an hour, whatever they are about', () => {
    const many = Array.from({ length: 120 }, (_, i) => [alert('x', `domain ${i}`, `${i}`), i] as const)
    const { outcomes, state } = play(many)
    expect(outcomes.filter((outcome) => outcome === 'SENT')).toHaveLength(100)
    expect(outcomes.slice(100)).toEqual(Array(20).fill('TENANT_RATE_LIMIT'))
    expect(suppressionOf(state, alert('y', 'new'), 3_600_000)).toBeNull()
  })

  it('a thousand identical failures are one notification, which tells of those that came before it was sent', () => {
    const burst = Array.from({ length: 1_000 }, (_, i) => [missing, i] as const)
    const { outcomes, state } = play(burst, NO_FATIGUE, 500)
    expect(outcomes.filter((outcome) => outcome === 'SENT')).toHaveLength(1)
    expect(state.open[0]?.held).toEqual({ DUPLICATE: 499 })
    expect(state.held).toEqual({ DUPLICATE: 500 })
    const next = play([[missing, 400_000]], state)
    expect([next.outcomes, next.state.open[0]?.held, next.state.held]).toEqual([['SENT'], { DUPLICATE: 500 }, {}])
  })

  it('a notification waits while others of its domain come that it can tell of, and goes out in the end', () => {
    const during = (everyMs: number, count: number, other = missing) => {
      let state = notified(NO_FATIGUE, missing, 0, 1_000, 65_000)
      for (let i = 1; i < count; i++) state = holdBack(state, 'DUPLICATE', other, i * everyMs)
      const [open] = state.open
      return [open?.until, open?.held.DUPLICATE, state.held.DUPLICATE]
    }
    expect(during(10, 1_000)).toEqual([12_990, 999, undefined])
    expect(during(60, 1_000)).toEqual([62_940, 999, undefined])
    expect(during(100, 1_000)).toEqual([65_000, 649, 350])
    expect(during(1_000, 3)).toEqual([1_000, undefined, 2])
    expect(during(10, 50, alert('logs/start_trace', 'logs'))).toEqual([1_000, undefined, 49])
  })

  it.each(['incidents', 'logs', 'policies', 'orchestrator', 'audit'])(
    'a thousand identical failures of %s within a minute are one notification, however they are spread',
    (domain) => {
      const failure = alert(`${domain}/x`, domain)
      const bursts = fc.array(fc.nat(60_000), { minLength: 1, maxLength: 40 })
      const times = bursts.chain((centres) =>
        fc.array(fc.tuple(fc.constantFrom(...centres), fc.nat(2_000)), { minLength: 999, maxLength: 999 }),
      )
      fc.assert(
        fc.property(times, (spread) => {
          const later = spread.map(([centre, offset]) => Math.min(60_000, centre + offset)).toSorted((x, y) => x - y)
          let state = notified(NO_FATIGUE, failure, 0, 1_000, 65_000)
          for (const nowMs of later) {
            const why = suppressionOf(state, failure, nowMs)
            expect(why).toBe('DUPLICATE')
            if (why) state = holdBack(state, why, failure, nowMs)
          }
          const [open] = state.open
          const told = open?.held.DUPLICATE ?? 0
          expect(told + (state.held.DUPLICATE ?? 0)).toBe(999)
          const gaps = later.map((at, i) => at - (later[i - 1] ?? 0))
          if (Math.max(...gaps.slice(1)) < 3_000 && (gaps[0] ?? 0) < 1_000) expect(told).toBe(999)
        }),
        { numRuns: 30 },
      )
    },
  )

  it('counts each alert once: those told, those still to be told, and those sent; and stays small', () => {
    const some = fc.array(
      fc.tuple(
        fc.record({
          type: fc.constantFrom('A', 'B'),
          subject: fc.constantFrom('x', 'y', 'z'),
          domain: fc.constantFrom('logs', 'audit'),
        }),
        fc.nat(200_000),
      ),
      { maxLength: 300 },
    )
    fc.assert(
      fc.property(some, (steps) => {
        let nowMs = 0
        let state = NO_FATIGUE
        let sent = 0
        const told = new Map<string, number>()
        for (const [i, [each, waitMs]] of steps.entries()) {
          nowMs += waitMs
          const candidate = { ...each, id: `${i} ${nowMs}` }
          const why = suppressionOf(state, candidate, nowMs)
          if (!why) sent++
          state = why ? holdBack(state, why, candidate, nowMs) : notified(state, candidate, nowMs, nowMs + 1_000)
          for (const { id, held } of state.open) told.set(id, sum(held))
        }
        const all = [...told.values()].reduce((total, n) => total + n, 0)
        expect(sent + all + sum(state.held)).toBe(steps.length)
        expect(Object.keys(state.keys).length).toBeLessThanOrEqual(6)
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
      }),
    )
  })
})
