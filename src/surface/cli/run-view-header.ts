import { isTerminal } from '../../domains/runs/runs.ts'
import type { RunReport } from '../library/library.ts'
import type { Canvas, RunView } from './canvas.ts'
import { age, count, duration, timestamp } from './format.ts'
import { pauseRows } from './run-view-pauses.ts'
import { styledStatus } from './status-style.ts'
import { printable } from './terminal.ts'

const TEXT_CHARS_MAX = 1_000

/** Who the run is, how it stands and, where it does not go on by itself, why. */
export function headerLines(canvas: Canvas, { report, now, unclaimedBecause }: RunView): string[] {
  const { style } = canvas
  const { runId, status, phase, agent, agentVersion, tenantId, createdAt, endedAt } = report
  const rows: [string, string | null][] = [
    ['agent', printable(`${agent}@${agentVersion}`)],
    ['tenant', printable(tenantId)],
    ['api key', report.apiKeyId],
    ['parent', report.parentRunId && `${report.parentRunId}, step ${printable(report.parentStepKey ?? '')}`],
    ['children', childrenOf(report)],
    ['created', `${timestamp(createdAt)}, ${age(now.getTime() - createdAt.getTime())} ago`],
    ['ended', endedAt && `${timestamp(endedAt)}, after ${duration(endedAt.getTime() - createdAt.getTime())}`],
    ['waits for', waitingFor(report, now, unclaimedBecause)],
    ['goes on by', goesOnBy(report)],
    [report.pending?.error === null ? 'ends' : 'blocked', blockedBy(report, now)],
    ...pauseRows(report, now),
    ['stop', stopOf(report)],
    ['workers', report.workerLosses > 0 ? `${report.workerLosses} lost while they executed it` : null],
    ['trace', report.observability === 'FULL' ? null : `observability ${report.observability}`],
    ...failure(report),
  ]
  const labels = rows.flatMap(([label, text]) =>
    text === null ? [] : [`  ${style('dim', label.padEnd(10))}  ${text}`],
  )
  return [`${style('bold', `run ${runId}`)}  ${styledStatus(canvas, status, report.waiting)}  ${phase}`, ...labels]
}

/** An error as it is stored: plain data with a code and a hint where it has them. */
function failure({ error, reason, status }: RunReport): [string, string | null][] {
  const stored = (error ?? {}) as { readonly message?: string; readonly hint?: string }
  if (status === 'succeeded' || (reason === null && error === null)) return []
  return [
    ['reason', reason],
    ['error', stored.message === undefined ? null : printable(stored.message, TEXT_CHARS_MAX)],
    ['hint', stored.hint ? printable(stored.hint, TEXT_CHARS_MAX) : null],
  ]
}

function waitingFor(report: RunReport, now: Date, unclaimedBecause: string | null): string | null {
  const { phase, waiting, dueAt, status, pending, createdAt } = report
  if (isTerminal(phase) || pending !== null) return null
  const due = dueAt && `due ${timestamp(dueAt)}, ${fromNow(dueAt, now)}`
  const since = timestamp(waitingSince(report) ?? createdAt)
  switch (waiting) {
    case 'RETRY':
      return `the next try of a step, ${due ?? 'as soon as a worker is free'}; since ${since}`
    case 'TIMER':
      return `the end of a sleep, ${due ?? 'which is over'}; since ${since}`
    case 'CHILD':
      return `the end of a run that it has started; since ${since}`
    case 'SIGNAL':
      return `${waitedFor(report, now)}; since ${since}`
    case 'LEASE':
      return `another worker, after its own was lost or ended${because(unclaimedBecause)}`
    case null:
      if (status !== 'queued') return null
      return due ? `its time: ${due}` : `a worker, since ${timestamp(createdAt)}${because(unclaimedBecause)}`
    default:
      return `${waiting}; since ${since}`
  }
}

/** How many there are of each status, and which is the first that has not succeeded. */
function childrenOf({ children }: RunReport): string | null {
  if (children.length === 0) return null
  const byStatus = Map.groupBy(children, ({ status }) => status)
  const counts = [...byStatus].map(([status, { length }]) => `${count(length)} ${status}`).join(', ')
  const other = children.find(({ status }) => status !== 'succeeded')
  return other ? `${counts}; ${other.runId} (${printable(other.stepKey)}) is ${other.status}` : counts
}

function because(why: string | null): string {
  return why === null ? '' : `: ${why}`
}

/** The signal that it waits for; of several, the one whose time ends first. */
function waitedFor({ waits }: RunReport, now: Date): string {
  const [first] = waits
  if (!first) return 'a signal'
  const more = waits.length > 1 ? ` (and ${waits.length - 1} more)` : ''
  return `signal ${JSON.stringify(printable(first.name))}${more} until ${timestamp(first.dueAt)}, ${fromNow(first.dueAt, now)}`
}

/** The command that lets a run go on which waits for somebody. */
function goesOnBy({ runId, waits, waiting }: RunReport): string | null {
  const [first] = waits
  return waiting === 'SIGNAL' && first ? `concordat runs signal ${runId} ${shellWord(first.name)} --data JSON` : null
}

/** As one word for the shell. */
function shellWord(text: string): string {
  return /^[\w.:/@-]+$/.test(text) ? text : `'${printable(text).replaceAll("'", "'\\''")}'`
}

/** A run waits since its last step that waits was written. */
function waitingSince({ steps }: RunReport): Date | null {
  return steps.findLast((step) => step.status === 'waiting')?.startedAt ?? null
}

function blockedBy({ pending, dueAt }: RunReport, now: Date): string | null {
  if (pending === null) return null
  const { attempts, error, end } = pending
  const nextTry = dueAt ? `next try ${fromNow(dueAt, now)}` : 'is being tried now'
  if (error === null) return `as ${end.outcome} (${end.reason}), as soon as a worker completes it; ${nextTry}`
  return `${printable(error, TEXT_CHARS_MAX)}; ${attempts === 1 ? '1 try' : `${attempts} tries`}, ${nextTry}`
}

function stopOf({ stop }: RunReport): string | null {
  if (stop === null) return null
  const { by, as, why, requestedAt, deliveredAt, confirmedAt } = stop
  const since = (at: string) => duration(new Date(at).getTime() - new Date(requestedAt).getTime())
  const steps = [
    `requested by ${printable(by, 100)}${as ? ` as ${as}` : ''} (${printable(why, 200)}) ${timestamp(new Date(requestedAt))}`,
    deliveredAt && `delivered after ${since(deliveredAt)}`,
    confirmedAt && `confirmed after ${since(confirmedAt)}`,
    confirmedAt === null && 'unconfirmed: a step ignored it',
  ]
  return steps.filter(Boolean).join(', ')
}

function fromNow(at: Date, now: Date): string {
  const ms = at.getTime() - now.getTime()
  return ms > 0 ? `in ${duration(ms)}` : 'now'
}
