import type { Canvas, RunView } from './canvas.ts'
import { budgetLines } from './run-view-budgets.ts'
import { contractLines } from './run-view-contract.ts'
import { eventLines, footprintLines } from './run-view-footprint.ts'
import { headerLines } from './run-view-header.ts'
import { phaseLines } from './run-view-phases.ts'
import { waterfallLines } from './run-view-steps.ts'

/** A run as a person wants to read it. */
export function runLines(canvas: Canvas, view: RunView): string[] {
  const { report, now } = view
  const sections = [
    headerLines(canvas, view),
    phaseLines(canvas, report, now),
    waterfallLines(canvas, report, now),
    budgetLines(canvas, report),
    footprintLines(canvas, report),
    contractLines(canvas, report),
    eventLines(canvas, report),
  ]
  return sections.filter((lines) => lines.length > 0).flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]))
}
