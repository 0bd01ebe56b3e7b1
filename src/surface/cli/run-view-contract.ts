import type { ExpectationState, StoredAck } from '../../domains/audit/audit.ts'
import type { RunReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { duration, timeOfDay } from './format.ts'
import { styledOutcome } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

export type Contract = Pick<RunReport, 'expectations' | 'acks' | 'reconciliation'>

/** Expected against acknowledged, then what was acknowledged beyond that, then what the reconciliation says. */
export function contractLines(canvas: Canvas, contract: Contract): string[] {
  const { expectations, acks, reconciliation } = contract
  const columns = [
    { head: 'EXPECTED', flexible: true },
    { head: 'WITHIN', align: 'right' },
    { head: 'DUE (UTC)', optional: true },
    { head: 'STATUS' },
    { head: 'ACKED (UTC)' },
    { head: '', flexible: true, optional: true },
  ] as const
  const rows = expectations.map((expectation) => {
    const own = acks.filter((ack) => isSame(ack, expectation))
    const success = own.find((ack) => ack.status === 'SUCCESS')
    return [
      `${expectation.domain}/${expectation.action}`,
      duration(expectation.deadlineMs),
      timeOfDay(expectation.dueAt),
      statusText(canvas, expectation, success),
      timeOfDay(success?.ackedAt ?? null),
      history(own),
    ]
  })
  const result = reconciliation ? styledOutcome(canvas, reconciliation.result) : 'not reconciled yet'
  // The reconciliation may be older than what is overdue now.
  const overdue = expectations.filter((expectation) => expectation.overdue).length
  const summary = overdue === 0 ? result : `${result}  ${canvas.style('red', `${overdue} overdue`)}`
  const beyond = acks.filter((ack) => !expectations.some((expectation) => isSame(ack, expectation)))
  return [
    title(canvas, 'Contract', summary),
    ...tableLines(canvas, columns, rows),
    ...beyond.map((ack) => `  ${canvas.style('yellow', 'unexpected')}  ${ack.domain}/${ack.action} ${ack.status}`),
    ...(reconciliation?.findings ?? []).map((finding) => {
      const { kind, domain, action, detail } = finding
      return `  ${canvas.style('red', kind)}  ${domain}/${action}: ${printable(detail, 500)}`
    }),
  ]
}

function isSame(ack: StoredAck, { domain, action }: ExpectationState): boolean {
  return ack.domain === domain && ack.action === action
}

/** Late: acknowledged after it was due; overdue: due and still nothing. */
function statusText(
  canvas: Canvas,
  { status, dueAt, overdue }: ExpectationState,
  success: StoredAck | undefined,
): string {
  const word = styledOutcome(canvas, status)
  if (overdue) return `${word} ${canvas.style('red', 'overdue')}`
  return success && dueAt && success.ackedAt > dueAt ? `${word} ${canvas.style('yellow', 'late')}` : word
}

/** Acks that are history: what failed or was rolled back before, and second ones. */
function history(acks: readonly StoredAck[]): string {
  const counts = new Map<string, number>()
  for (const { status } of acks) counts.set(status, (counts.get(status) ?? 0) + 1)
  const successes = counts.get('SUCCESS') ?? 0
  if (successes > 1) counts.set('SUCCESS', successes - 1)
  else counts.delete('SUCCESS')
  return [...counts].map(([status, n]) => `${n} × ${status}`).join(', ')
}
