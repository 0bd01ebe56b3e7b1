import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  isTerminal,
  NEXT_PHASES,
  PhaseTransitionError,
  type RunOutcome,
  RunPhase,
  readTransitions,
  transition,
  transitionLines,
  walk,
  walkToEnd,
} from './phases.ts'

const phases = Object.keys(RunPhase) as RunPhase[]
const at = new Date('2026-01-01T00:00:00Z')
const anyPhase = fc.constantFrom(...phases)
const anyOutcome = fc.constantFrom<RunOutcome>('succeeded', 'failed', 'failed_policy', 'cancelled')

describe('the phases of a run', () => {
  it('come in one order, and FAILED is reached from each that is not terminal', () => {
    const order: RunPhase[] = ['CREATED', 'AUTHORIZED', 'EXECUTING', 'GOVERNANCE_CHECK', 'FINALIZING', 'COMPLETED']
    order.forEach((phase, i) => {
      const next: readonly RunPhase[] = NEXT_PHASES[phase]
      expect(next).toEqual(phase === 'COMPLETED' ? [] : [order[i + 1], 'FAILED'])
    })
    expect(phases.filter(isTerminal)).toEqual(['COMPLETED', 'FAILED'])
  })

  it('are read as they were written, a line each, whatever the reason says', () => {
    const walked = [
      ...walk('CREATED', [['AUTHORIZED', 'a  reason\nEXECUTING that ends in more']], at),
      ...walkToEnd('AUTHORIZED', 'failed', '', at),
    ]
    const written = [{ from: null, to: 'CREATED' as const, at: at.toISOString(), why: 'submitted' }, ...walked]
    const expected = written.map((step) => ({ ...step, why: step.why.replaceAll(/\s+/g, ' ') }))
    expect(readTransitions(transitionLines(written))).toEqual(expected)
  })

  it('change only as the table says; anything else is a PhaseTransitionError that names both', () => {
    fc.assert(
      fc.property(anyPhase, anyPhase, (from, to) => {
        const allowed = (NEXT_PHASES[from] as readonly RunPhase[]).includes(to)
        if (allowed) expect(transition(from, to, at, 'why')).toEqual({ from, to, at: at.toISOString(), why: 'why' })
        else {
          expect(() => transition(from, to, at, 'why')).toThrow(PhaseTransitionError)
          expect(() => transition(from, to, at, 'why')).toThrow(`from ${from} to ${to}`)
        }
      }),
    )
  })

  it('can’t be skipped by a walk: a random walk goes on exactly as long as each step is legal', () => {
    fc.assert(
      fc.property(anyPhase, fc.array(anyPhase, { maxLength: 8 }), (from, path) => {
        const legal = path.every((to, i) => (NEXT_PHASES[path[i - 1] ?? from] as readonly RunPhase[]).includes(to))
        const steps = path.map((to) => [to, 'because'] as const)
        if (legal) expect(walk(from, steps, at).map(({ to }) => to)).toEqual(path)
        else expect(() => walk(from, steps, at)).toThrow(PhaseTransitionError)
      }),
    )
  })

  it('end legally from everywhere that is not terminal: well through every phase, else straight to FAILED', () => {
    const executing = fc.constantFrom<RunPhase>('EXECUTING', 'GOVERNANCE_CHECK', 'FINALIZING')
    const open = fc.constantFrom(...phases.filter((phase) => !isTerminal(phase)))
    fc.assert(
      fc.property(executing, (from) => {
        const walked = walkToEnd(from, 'succeeded', 'done', at)
        expect(walked[0]?.from).toBe(from)
        expect(walked.at(-1)?.to).toBe('COMPLETED')
      }),
    )
    fc.assert(
      fc.property(open, anyOutcome, (from, outcome) => {
        if (outcome === 'succeeded') return
        expect(walkToEnd(from, outcome, 'why', at).map(({ from, to }) => [from, to])).toEqual([[from, 'FAILED']])
      }),
    )
    for (const from of ['CREATED', 'AUTHORIZED'] as const) {
      expect(() => walkToEnd(from, 'succeeded', 'done', at)).toThrow(PhaseTransitionError)
    }
  })
})
