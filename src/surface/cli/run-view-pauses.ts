import { isTerminal } from '../../domains/runs/runs.ts'
import type { PauseReport, RunReport } from '../library/library.ts'
import { age, duration, plural, timestamp } from './format.ts'
import { printable } from './terminal.ts'

const MESSAGE_CHARS_MAX = 500
const NAME_CHARS_MAX = 100
/** Of the pauses that are over, the latest. */
const PAST_MAX = 3

/** Labels and texts: the pause that lasts, what ends it, and those that are over. */
export function pauseRows({ pauses, pauseRequest, phase, runId, approvals }: RunReport, now: Date): [string, string][] {
  const rows: [string, string][] = []
  if (pauseRequest !== null && !isTerminal(phase)) {
    const { by, why, requestedAt, deliveredAt } = pauseRequest
    const asked = `asked for by ${name(by)} (${printable(why, MESSAGE_CHARS_MAX)}) ${timestamp(new Date(requestedAt))}`
    rows.push(['pause', `${asked}; it begins ${deliveredAt ? 'after the step under way' : 'before the next step'}`])
  }
  const lasting = pauses.find(({ endedAt }) => endedAt === null)
  if (lasting) rows.push(...lastingRows(lasting, endingOf(runId, approvals), now))
  for (const pause of pauses.filter(({ endedAt }) => endedAt !== null).slice(-PAST_MAX)) {
    rows.push(['was paused', pastText(pause)])
  }
  return rows
}

/** What ends a pause: the decision of the approval that it is for, or a resume. */
interface Ending {
  readonly label: string
  readonly command: string
  readonly asTimeout: string
}

function endingOf(runId: string, approvals: RunReport['approvals']): Ending {
  const asked = approvals.find(({ state }) => state === 'pending')
  if (!asked) return { label: 'resume', command: `concordat runs resume ${runId}`, asTimeout: 'PAUSE_TIMEOUT' }
  const command = `concordat approvals decide ${asked.approvalId} approve|reject`
  return { label: 'decide', command, asTimeout: 'APPROVAL_EXPIRED' }
}

function lastingRows(pause: PauseReport, { label, command, asTimeout }: Ending, now: Date): [string, string][] {
  const { reason, message, pausedAt, resumableBy, refusals } = pause
  const since = `${timestamp(pausedAt)}, ${age(now.getTime() - pausedAt.getTime())} ago`
  const rows: [string, string][] = [
    ['paused', `${reason} since ${since}, by ${who(pause.pausedBy, pause.pausedAs)}`],
    ['why', printable(message, MESSAGE_CHARS_MAX)],
    [label, `${command}  (${resumableBy.join(', ')})`],
    ['then', ahead(pause, asTimeout, now)],
  ]
  const last = refusals.at(-1)
  if (last) {
    const attempts = plural(refusals.length, 'attempt')
    rows.push([
      'refused',
      `${attempts} to ${label} it, the last by ${who(last.by, last.as)} ${timestamp(new Date(last.at))}`,
    ])
  }
  return rows
}

const ON_TIMEOUT: { readonly [Behavior in PauseReport['onTimeout']]: string } = {
  TERMINATE: 'it ends as failed_policy',
  CONTINUE: 'it goes on by itself',
  ESCALATE: 'only OPERATOR may resume it',
}

/** What happens though nobody does anything. */
function ahead({ escalatedAt, resumeAt, timeoutAt, onTimeout }: PauseReport, asTimeout: string, now: Date): string {
  if (escalatedAt !== null) return `nothing: it is escalated since ${timestamp(escalatedAt)}`
  if (resumeAt !== null && resumeAt < timeoutAt) return `${at(resumeAt, now)}: it goes on, its rate limit has room then`
  const reason = onTimeout === 'TERMINATE' ? ` (${asTimeout})` : ''
  return `${at(timeoutAt, now)}: ${ON_TIMEOUT[onTimeout]}${reason}`
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
