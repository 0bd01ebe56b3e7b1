import { describe, expect, it } from 'vitest'
import { dueAction, nextMoment, type PauseSla, type ScheduledPause, scheduleOf } from './pause-schedule.ts'

const start = new Date('2026-01-01T00:00:00Z')
const later = (seconds: number) => new Date(start.getTime() + seconds * 1_000)
const sla: PauseSla = { slaMs: 3_600_000, notifyBeforeMs: 300_000, onTimeout: 'TERMINATE' }

function pause(more: Partial<ScheduledPause & PauseSla> = {}): ScheduledPause {
  const fresh = { reason: 'MANUAL_PAUSE', resumeAt: null, warnedAt: null, escalatedAt: null } as const
  return { ...fresh, ...scheduleOf({ ...sla, ...more }, start), ...more }
}

describe('the schedule of a pause', () => {
  it('warns before its time is over, or never', () => {
    expect(scheduleOf(sla, start)).toEqual({ warnAt: later(3_300), timeoutAt: later(3_600), onTimeout: 'TERMINATE' })
    expect(scheduleOf({ ...sla, notifyBeforeMs: 0 }, start).warnAt).toBeNull()
  })

  it.each<[string, ScheduledPause, number | null]>([
    ['the warning', pause(), 3_300],
    ['the timeout, once people were warned', pause({ warnedAt: later(3_300) }), 3_600],
    ['the timeout, where nobody is warned', pause({ notifyBeforeMs: 0 }), 3_600],
    ['the time when a rate limit has room', pause({ resumeAt: later(60) }), 60],
    ['nothing, once it is escalated', pause({ escalatedAt: later(3_600), resumeAt: later(60) }), null],
  ])('looks next at %s', (_what, scheduled, seconds) => {
    expect(nextMoment(scheduled)).toEqual(seconds === null ? null : later(seconds))
  })

  it.each<[string, ScheduledPause, number, ReturnType<typeof dueAction>]>([
    ['before any moment', pause(), 3_299, null],
    ['at the warning', pause(), 3_300, 'WARN'],
    ['between warning and timeout', pause({ warnedAt: later(3_300) }), 3_400, null],
    ['at the timeout', pause({ warnedAt: later(3_300) }), 3_600, 'TERMINATE'],
    ['long after both went by unseen', pause(), 90_000, 'TERMINATE'],
    ['at the timeout, when it goes on', pause({ onTimeout: 'CONTINUE' }), 3_600, 'CONTINUE'],
    ['at the timeout, when operators decide', pause({ onTimeout: 'ESCALATE' }), 3_600, 'ESCALATE'],
    ['long after it was escalated', pause({ onTimeout: 'ESCALATE', escalatedAt: later(3_600) }), 90_000, null],
    ['when a rate limit has room', pause({ resumeAt: later(60) }), 60, 'RESUME'],
    ['when that and the timeout went by unseen', pause({ resumeAt: later(60) }), 90_000, 'RESUME'],
  ])('%s', (_when, scheduled, seconds, action) => {
    expect(dueAction(scheduled, later(seconds))).toBe(action)
  })
})
