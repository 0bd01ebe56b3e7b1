import { AppError } from '../../foundation/app-error.ts'

/** The phases of a run, in order. None can be skipped; FAILED is reached from any that is not terminal. */
export const RunPhase = Object.freeze({
  CREATED: 'CREATED',
  AUTHORIZED: 'AUTHORIZED',
  EXECUTING: 'EXECUTING',
  GOVERNANCE_CHECK: 'GOVERNANCE_CHECK',
  FINALIZING: 'FINALIZING',
  COMPLETED: 'COMPLETED',
  FAILED: 'FAILED',
})
export type RunPhase = keyof typeof RunPhase

/** Where each phase may go. Docs draw the state picture from this table. */
export const NEXT_PHASES = {
  CREATED: ['AUTHORIZED', 'FAILED'],
  AUTHORIZED: ['EXECUTING', 'FAILED'],
  EXECUTING: ['GOVERNANCE_CHECK', 'FAILED'],
  GOVERNANCE_CHECK: ['FINALIZING', 'FAILED'],
  FINALIZING: ['COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
} as const satisfies Record<RunPhase, readonly RunPhase[]>

export type RunOutcome = 'succeeded' | 'failed' | 'failed_policy' | 'cancelled'

export type RunStatus = 'queued' | 'running' | 'paused' | RunOutcome

/** Why a run that is `running` holds no worker slot. */
export type Waiting = 'RETRY' | 'TIMER' | 'CHILD' | 'SIGNAL' | 'LEASE'

/** One recorded change of phase: shape `{ from, to, at, why }`, `at` in ISO 8601 UTC. `from` is null at creation. */
export interface Transition {
  readonly from: RunPhase | null
  readonly to: RunPhase
  readonly at: string
  readonly why: string
}

/** A change of phase that the table does not allow. Nothing is written. */
export class PhaseTransitionError extends AppError {
  readonly from: RunPhase
  readonly to: RunPhase

  constructor(from: RunPhase, to: RunPhase) {
    super('PHASE_TRANSITION', `a run can't go from ${from} to ${to}`, { details: { from, to } })
    this.name = 'PhaseTransitionError'
    this.from = from
    this.to = to
  }
}

export function isTerminal(phase: RunPhase): boolean {
  return NEXT_PHASES[phase].length === 0
}

/** A time, or its text in ISO 8601 where somebody has made it: that takes as long as all else about a transition. */
type Moment = Date | string

function textOf(at: Moment): string {
  return typeof at === 'string' ? at : at.toISOString()
}

/** The record of one step along the table. Throws `PhaseTransitionError` when the table has no such step. */
export function transition(from: RunPhase, to: RunPhase, at: Moment, why: string): Transition {
  if (!(NEXT_PHASES[from] as readonly RunPhase[]).includes(to)) throw new PhaseTransitionError(from, to)
  return { from, to, at: textOf(at), why }
}

/** The records of a walk through several phases at one instant, as when one commit takes a run to its end. */
export function walk(
  from: RunPhase,
  path: readonly (readonly [to: RunPhase, why: string])[],
  at: Moment,
): Transition[] {
  const time = textOf(at)
  let here = from
  return path.map(([to, why]) => {
    const step = transition(here, to, time, why)
    here = to
    return step
  })
}

/** The transitions that end a run from where it is: through every phase when well, straight to FAILED when not. */
export function walkToEnd(
  from: RunPhase,
  outcome: RunOutcome,
  why: string,
  at: Moment,
  whyFinalizing = 'every expectation is met',
): Transition[] {
  if (outcome !== 'succeeded') return walk(from, [['FAILED', why]], at)
  const path = (
    [
      ['GOVERNANCE_CHECK', 'all steps are done'],
      ['FINALIZING', whyFinalizing],
      ['COMPLETED', why],
    ] as const
  ).filter(([phase]) => order(phase) > order(from))
  return walk(from, path, at)
}

/** White space that is more or other than one space. */
const UNEVEN_SPACE = / \s+|[^\S ]\s*/g

/** As a run's row has them: a line each, since every change of the run writes its row anew. */
export function transitionLines(transitions: readonly Transition[]): string {
  return transitions.map(({ to, at, why }) => `${to} ${at} ${why.replaceAll(UNEVEN_SPACE, ' ')}\n`).join('')
}

/** What `transitionLines` wrote; each begins where the one before led. */
export function readTransitions(lines: string): Transition[] {
  let from: RunPhase | null = null
  return lines
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [to, at = ''] = line.split(' ', 2) as [RunPhase, string?]
      const read = { from, to, at, why: line.slice(to.length + at.length + 2) }
      from = to
      return read
    })
}

const ORDER = Object.keys(NEXT_PHASES) as RunPhase[]

function order(phase: RunPhase): number {
  return ORDER.indexOf(phase)
}
