import { isTerminal } from '../../domains/runs/runs.ts'
import type { PauseReport, RunReport } from '../library/library.ts'
import { age, duration, plural, timestamp } from './format.ts'
import { printable } from './terminal.ts'

const MESSAGE_CHARS_MAX = 500
const NAME_CHARS_MAX = 100
/** Of the pauses that are over, the latest. */
const PAST_MAX = 3

/** Labels and texts: the pause that lasts, what ends it, and those that are over. */
export function pauseRows({ pauses, pauseRequest, phase, runId }: RunReport, now: Date): [string, string][] {
  const rows: [string, string][] = []
  if (pauseRequest !== null && !isTerminal(phase)) {
    const { by, why, requestedAt, deliveredAt } = pauseRequest
    const asked = `asked for by ${name(by)} (${printable(why, MESSAGE_CHARS_MAX)}) ${timestamp(new Date(requestedAt))}`
    rows.push(['pause', `${asked}; it begins ${deliveredAt ? 'after the step under way' : 'before the next step'}`])
  }
  const lasting = pauses.find(({ endedAt }) => endedAt === null)
  if (lasting) rows.push(...lastingRows(lasting, runId, now))
  for (const pause of pauses.filter(({ endedAt }) => endedAt !== null).slice(-PAST_MAX)) {
    rows.push(['was paused', pastText(pause)])
  }
  return rows
}

function lastingRows(pause: PauseReport, runId: string, now: Date): [string, string][] {
  const { reason, message, pausedAt, resumableBy, refusals } = pause
  const since = `${timestamp(pausedAt)}, ${age(now.getTime() - pausedAt.getTime())} ago`
  const rows: [string, string][] = [
    ['paused', `${reason} since ${since}, by ${who(pause.pausedBy, pause.pausedAs)}`],
    ['why', printable(message, MESSAGE_CHARS_MAX)],
    ['resume', `concordat runs resume ${runId}  (${resumableBy.join(', ')})`],
    ['then', ahead(pause, now)],
  ]
  const last = refusals.at(-1)
  if (last) {
    const attempts = plural(refusals.length, 'attempt')
    rows.push([
      'refused',
      `${attempts} to resume it, the last by ${who(last.by, last.as)} ${timestamp(new Date(last.at))}`,
    ])
  }
  return rows
}

const ON_TIMEOUT: { readonly [Behavior in PauseReport['onTimeout']]: string } = {
  TERMINATE: 'it ends as failed_policy (PAUSE_TIMEOUT)',
  CONTINUE: 'it goes on by itself',
  ESCALATE: 'only OPERATOR may resume it',
}

/** What happens though nobody does anything. */
function ahead({ escalatedAt, resumeAt, timeoutAt, onTimeout }: PauseReport, now: Date): string {
  if (escalatedAt !== null) return `nothing: it is escalated since ${timestamp(escalatedAt)}`
  if (resumeAt !== null && resumeAt < timeoutAt) return `${at(resumeAt, now)}: it goes on, its rate limit has room then`
  return `${at(timeoutAt, now)}: ${ON_TIMEOUT[onTimeout]}`
}

function at(moment: Date, now: Date): string {
  const ms = moment.getTime() - now.getTime()
  return `${timestamp(moment)}, ${ms > 0 ? `in ${duration(ms)}` : 'now'}`
}

function pastText({ reason, pausedAt, endedAt, endedHow, resumedBy, resumedAs, note }: PauseReport): string {
  const lasted = duration((endedAt ?? pausedAt).getTime() - pausedAt.getTime())
  const noted = note === null ? '' : `: ${printable(note, MESSAGE_CHARS_MAX)}`
  const how = resumedBy === null ? ENDED[endedHow ?? 'STOPPED'] : `resumed by ${who(resumedBy, resumedAs)}${noted}`
  return `${reason} ${timestamp(pausedAt)} for ${lasted}, ${how}`
}

const ENDED = { RESUMED: 'resumed', STOPPED: 'then it was stopped', TIMED_OUT: 'until its time was over' } as const

function who(by: string, as: string | null): string {
  return `${name(by)} as ${as}`
}

function name(by: string): string {
  return printable(by, NAME_CHARS_MAX)
}
