import type { Action, ExpectationState, StoredAck } from '../../domains/audit/audit.ts'
import type { RunReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { duration, exactDuration, timeOfDay } from './format.ts'
import { styledOutcome } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

export type Contract = Pick<RunReport, 'expectations' | 'acks' | 'reconciliation'>

/**
 * Expected, acked, late, missing, drift and, under a head of their own, the tries that came to nothing: a line for each
 * action; then what the reconciliation says in words.
 */
export function contractLines(canvas: Canvas, contract: Contract): string[] {
  const { expectations, acks, reconciliation } = contract
  const columns = [
    { head: 'EXPECTED', flexible: true },
    { head: 'WITHIN', align: 'right' },
    { head: 'FROM', optional: true },
    { head: 'DUE (UTC)', optional: true },
    { head: 'ACKED (UTC)' },
    { head: 'LATE' },
    { head: 'MISSING' },
    { head: 'DRIFT' },
    { head: 'FAILED TRIES', flexible: true, optional: true },
  ] as const
  const isGone = (each: Action) =>
    (reconciliation?.findings ?? []).some(({ kind, ...action }) => kind === 'missing' && isSame(action, each))
  const rows = expectations.map((expectation) => {
    const own = acks.filter((ack) => isSame(ack, expectation))
    const success = own.find((ack) => ack.status === 'SUCCESS')
    return [
      `${expectation.domain}/${expectation.action}`,
      exactDuration(expectation.deadlineMs),
      expectation.anchor === 'EXECUTION_START' ? 'start' : 'end',
      timeOfDay(expectation.dueAt),
      success ? timeOfDay(success.ackedAt) : expectation.status === 'PENDING' ? canvas.style('dim', 'pending') : '',
      canvas.style('yellow', lateText(expectation, success)),
      canvas.style('red', missingText(expectation, isGone(expectation))),
      canvas.style('yellow', doubledText(own)),
      history(own),
    ]
  })
  const beyond = acks.filter((ack) => !expectations.some((expectation) => isSame(ack, expectation)))
  const unexpected = beyond.map(({ domain, action, status, ackedAt }) => {
    const drift = status === 'SUCCESS' ? canvas.style('yellow', 'unexpected') : ''
    const acked = status === 'SUCCESS' ? timeOfDay(ackedAt) : ''
    return [`${domain}/${action}`, '', '', '', acked, '', '', drift, status === 'SUCCESS' ? '' : `1 × ${status}`]
  })
  const doubled = expectations.filter((each) => doubledText(acks.filter((ack) => isSame(ack, each))) !== '')
  const drifted = doubled.length + beyond.filter(({ status }) => status === 'SUCCESS').length
  const told = (reconciliation?.findings ?? []).some(({ kind }) => kind === 'drift')
  const missing = expectations.filter((each) => missingText(each, false) !== '' && !isGone(each)).length
  const result = reconciliation ? styledOutcome(canvas, reconciliation.result) : 'not reconciled yet'
  // The reconciliation may be older than what is overdue or missing, or has drifted, now.
  const overdue = expectations.filter((expectation) => expectation.overdue).length
  const since = [
    overdue > 0 && `${overdue} overdue`,
    reconciliation && missing > 0 && `${missing} missing since`,
    reconciliation && !told && drifted > 0 && `${drifted} drifted since`,
  ]
  const summary = [result, ...since.flatMap((text) => (text ? [canvas.style('red', text)] : []))].join('  ')
  return [
    title(canvas, 'Contract', summary),
    ...(rows.length + unexpected.length > 0 ? tableLines(canvas, columns, [...rows, ...unexpected]) : []),
    ...(reconciliation?.findings ?? []).map((finding) => {
      const { kind, domain, action, detail } = finding
      return `  ${canvas.style('red', kind)}  ${domain}/${action}: ${printable(detail, 500)}`
    }),
  ]
}

function isSame(a: Action, b: Action): boolean {
  return a.domain === b.domain && a.action === b.action
}

/** By how much it was acknowledged after it was due; overdue: due and still nothing. */
function lateText({ dueAt, overdue }: ExpectationState, success: StoredAck | undefined): string {
  if (overdue) return 'overdue'
  return success && dueAt && success.ackedAt > dueAt ? `+${duration(+success.ackedAt - +dueAt)}` : ''
}

/** Gone: acknowledged, but its record is not there any more. */
function missingText({ status }: ExpectationState, isGone: boolean): string {
  if (status === 'MISSING' || status === 'FAILED') return status.toLowerCase()
  return isGone ? 'gone' : ''
}

function doubledText(own: readonly StoredAck[]): string {
  const successes = own.filter(({ status }) => status === 'SUCCESS').length
  return successes > 1 ? `${successes} times` : ''
}

/** Acks that are history, and no drift: what failed or was rolled back. */
function history(acks: readonly StoredAck[]): string {
  const counts = new Map<string, number>()
  for (const { status } of acks) if (status !== 'SUCCESS') counts.set(status, (counts.get(status) ?? 0) + 1)
  return [...counts].map(([status, n]) => `${n} × ${status}`).join(', ')
}
