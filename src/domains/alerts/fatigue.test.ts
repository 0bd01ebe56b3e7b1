import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, type FatigueState, holdBack, NO_FATIGUE, notified, sumHeld, suppressionOf } from './fatigue.ts'

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
    state = why ? holdBack(state, why, nowMs) : notified(state, candidate, nowMs, nowMs + waitMs)
    return why ?? 'SENT'
  })
  return { outcomes, state }
}

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
    expect(state.open?.held).toEqual({ DUPLICATE: 499 })
    expect(state.held).toEqual({ DUPLICATE: 500 })
    const next = play([[missing, 400_000]], state)
    expect([next.outcomes, next.state.open?.held, next.state.held]).toEqual([['SENT'], { DUPLICATE: 500 }, {}])
  })

  it('a notification waits while others come that it can tell of, and goes out in the end', () => {
    const during = (everyMs: number, count: number) => {
      let state = notified(NO_FATIGUE, missing, 0, 1_000, 30_000)
      for (let i = 1; i < count; i++) state = holdBack(state, 'DUPLICATE', i * everyMs)
      return [state.open?.until, state.open?.held.DUPLICATE, state.held.DUPLICATE]
    }
    expect(during(10, 1_000)).toEqual([10_990, 999, undefined])
    expect(during(60, 1_000)).toEqual([30_000, 499, 500])
    expect(during(1_000, 3)).toEqual([1_000, undefined, 2])
  })

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
        const seen = { sent: 0, told: {} as Record<string, number> }
        for (const [each, waitMs] of steps) {
          nowMs += waitMs
          const candidate = { ...each, id: `${nowMs}` }
          const why = suppressionOf(state, candidate, nowMs)
          if (!why) {
            seen.sent++
            seen.told = sumHeld(seen.told, state.open?.held ?? {})
          }
          state = why ? holdBack(state, why, nowMs) : notified(state, candidate, nowMs, nowMs + 1_000)
        }
        const told = sumHeld(seen.told, sumHeld(state.open?.held ?? {}, state.held))
        expect(seen.sent + Object.values(told).reduce((sum, n) => sum + n, 0)).toBe(steps.length)
        expect(Object.keys(state.keys).length).toBeLessThanOrEqual(6)
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
      }),
    )
  })
})
