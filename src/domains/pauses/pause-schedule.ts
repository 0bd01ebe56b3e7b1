import type { PauseReason } from './pause-rules.ts'

/** PAUSE_SLA_SECONDS, PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS and PAUSE_TIMEOUT_BEHAVIOR, times in milliseconds. */
export interface PauseSla {
  readonly slaMs: number
  readonly notifyBeforeMs: number
  readonly onTimeout: 'TERMINATE' | 'CONTINUE' | 'ESCALATE'
}

/** When something is done about a pause though nobody asks. */
export interface PauseSchedule {
  /** Null: nobody is warned. */
  readonly warnAt: Date | null
  readonly timeoutAt: Date
  readonly onTimeout: PauseSla['onTimeout']
}

/** Pure. The moments of a pause that begins at `at`. */
export function scheduleOf({ slaMs, notifyBeforeMs, onTimeout }: PauseSla, at: Date): PauseSchedule {
  const timeoutAt = new Date(at.getTime() + slaMs)
  return { warnAt: notifyBeforeMs > 0 ? new Date(timeoutAt.getTime() - notifyBeforeMs) : null, timeoutAt, onTimeout }
}

/** A pause with what was already done about it. */
export interface ScheduledPause extends PauseSchedule {
  readonly reason: PauseReason
  /** When Concordat resumes it by itself; null: never. */
  readonly resumeAt: Date | null
  readonly warnedAt: Date | null
  readonly escalatedAt: Date | null
}

/** Pure. When to look at the pause next; null: only a person ends it now. */
export function nextMoment({ resumeAt, warnAt, timeoutAt, warnedAt, escalatedAt }: ScheduledPause): Date | null {
  if (escalatedAt !== null) return null
  const moments = [resumeAt, warnedAt === null ? warnAt : null, timeoutAt].filter((at) => at !== null)
  return moments.reduce((first, at) => (at < first ? at : first))
}

/** What is due of a pause: `RESUME` is of a rate limit that has room again. */
export type PauseAction = 'RESUME' | 'WARN' | PauseSla['onTimeout']

/** Pure. The one thing to do about the pause now; where several moments went by unseen, the one that decides. */
export function dueAction(pause: ScheduledPause, now: Date): PauseAction | null {
  const { resumeAt, warnAt, timeoutAt, onTimeout, warnedAt, escalatedAt } = pause
  if (escalatedAt !== null) return null
  if (resumeAt !== null && resumeAt <= now) return 'RESUME'
  if (timeoutAt <= now) return onTimeout
  return warnAt !== null && warnedAt === null && warnAt <= now ? 'WARN' : null
}
