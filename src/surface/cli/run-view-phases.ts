import { isTerminal } from '../../domains/runs/runs.ts'
import type { RunReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { duration, timeOfDay } from './format.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

/** Each phase with when it was entered, how long it lasted and why it was entered. */
export function phaseLines(canvas: Canvas, { transitions }: RunReport, now: Date): string[] {
  const columns = [
    { head: 'PHASE' },
    { head: 'AT (UTC)' },
    { head: 'LASTED', align: 'right' },
    { head: 'WHY', flexible: true },
  ] as const
  const rows = transitions.map(({ to, at, why }, index) => {
    const entered = new Date(at)
    const next = transitions[index + 1]
    const left = next ? new Date(next.at) : now
    const lasted = isTerminal(to) ? '' : duration(Math.max(0, left.getTime() - entered.getTime()))
    return [to, timeOfDay(entered), lasted + (next || isTerminal(to) ? '' : ' …'), printable(why)]
  })
  return [title(canvas, 'Phases'), ...tableLines(canvas, columns, rows)]
}
