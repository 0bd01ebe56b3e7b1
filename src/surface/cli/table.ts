import Table from 'cli-table3'
import type { Terminal } from './terminal.ts'

export interface Column {
  readonly head: string
  readonly align?: 'left' | 'right'
  /** Shrinks when the line is too narrow, with an ellipsis; the last such column first. */
  readonly flexible?: true
  /** Left out when it is empty, and when shrinking is not enough; the last such column first. */
  readonly optional?: true
}

const FLEXIBLE_MIN = 12
const GAP = '  '
const FRAMES = [
  ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
  ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'],
]
const CHARS = { ...Object.fromEntries(FRAMES.map((name) => [name, ''])), middle: GAP }
const STYLE = { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true }

/** Lines of aligned columns under dim heads, fitted into the terminal's width. Colours in cells count as no width. */
export function tableLines(
  terminal: Pick<Terminal, 'columns' | 'style'>,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  indent = GAP,
): string[] {
  const room = terminal.columns - indent.length
  const isEmpty = (index: number) => rows.every((row) => (row[index] ?? '') === '')
  let shown = columns.flatMap(({ optional }, index) => (optional && isEmpty(index) ? [] : [index]))
  for (;;) {
    const { widths, fits } = fittedWidths(columns, rows, shown, room)
    const droppable = shown.findLast((index) => columns[index]?.optional)
    if (fits || droppable === undefined) return render(terminal, columns, rows, shown, widths, indent)
    shown = shown.filter((index) => index !== droppable)
  }
}

/** A width for each column that has to shrink, null for the others; and whether the line fits then. */
function fittedWidths(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  shown: readonly number[],
  room: number,
): { widths: (number | null)[]; fits: boolean } {
  const natural = shown.map((index) => widthOf([columns[index]?.head ?? '', ...rows.map((row) => row[index] ?? '')]))
  let overflow = natural.reduce((sum, width) => sum + width, GAP.length * (shown.length - 1)) - room
  const widths: (number | null)[] = shown.map(() => null)
  for (let place = shown.length - 1; place >= 0 && overflow > 0; place--) {
    const width = natural[place] ?? 0
    if (!columns[shown[place] ?? 0]?.flexible) continue
    widths[place] = Math.max(Math.min(width, FLEXIBLE_MIN), width - overflow)
    overflow -= width - (widths[place] ?? 0)
  }
  return { widths, fits: overflow <= 0 }
}

/** Of the widest cell, as the library counts: wide characters twice, colours not at all. */
function widthOf(cells: readonly string[]): number {
  const table = new Table({ chars: CHARS, style: STYLE })
  table.push(...cells.map((cell) => [cell]))
  return table.width
}

function render(
  { style }: Pick<Terminal, 'style'>,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  shown: readonly number[],
  widths: readonly (number | null)[],
  indent: string,
): string[] {
  const table = new Table({
    head: shown.map((index) => style('dim', columns[index]?.head ?? '')),
    colAligns: shown.map((index) => columns[index]?.align ?? 'left'),
    colWidths: [...widths],
    chars: CHARS,
    style: STYLE,
  })
  table.push(...rows.map((row) => shown.map((index) => row[index] ?? '')))
  return table
    .toString()
    .split('\n')
    .map((line) => indent + line.trimEnd())
}
