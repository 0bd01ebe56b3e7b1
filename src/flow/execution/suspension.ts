import type { Waiting } from '../../domains/runs/runs.ts'

/** Why a run gives its slot back, once no step of it is under way. */
export interface Suspension {
  readonly waiting: Waiting
  readonly dueAt: Date
  /** How many signals the run had got when the wait was looked at; null where it waits for none. */
  readonly signalsSeen: number | null
}

/** Of steps that wait at once: the run waits for what ends first, and misses no signal that came after the first look. */
export function sooner(a: Suspension | undefined, b: Suspension): Suspension {
  if (!a) return b
  const counts = [a.signalsSeen, b.signalsSeen].filter((seen) => seen !== null)
  return { ...(b.dueAt < a.dueAt ? b : a), signalsSeen: counts.length > 0 ? Math.min(...counts) : null }
}
