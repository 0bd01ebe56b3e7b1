import type { RunReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { amount } from './format.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

/** What the run has used of its own budgets, and what it has reserved of any; nothing where no budget bounds it. */
export function budgetLines(canvas: Canvas, { budgets, runId }: RunReport): string[] {
  if (budgets.length === 0) return []
  const columns = [
    { head: 'SUBJECT', flexible: true },
    { head: 'WINDOW' },
    { head: 'METRIC' },
    { head: 'USED', align: 'right' },
    { head: 'RESERVED', align: 'right' },
    { head: 'BY THIS RUN', align: 'right', optional: true },
    { head: 'OVERRUN', align: 'right', optional: true },
    { head: 'ESTIMATED', align: 'right', optional: true },
  ] as const
  const rows = budgets.map(({ subject, window, metric, used, reserved, held, overrun, estimated }) => {
    const unlessNone = (value: number) => (value === 0 ? '' : amount(metric, value))
    const whose = subject === `run/${runId}` ? 'this run' : printable(subject, 200)
    const amounts = [amount(metric, used), amount(metric, reserved)]
    return [whose, window, metric, ...amounts, ...[held, overrun, estimated].map(unlessNone)]
  })
  return [title(canvas, 'Budgets'), ...tableLines(canvas, columns, rows)]
}
