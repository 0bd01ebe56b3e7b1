import type { RunReport, StepReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { count, duration, plural, usd } from './format.ts'
import { tableLines } from './table.ts'
import { printable, type Style } from './terminal.ts'

const STEPS_SHOWN_MAX = 200
const SHARE_OF_LINE = 0.3
const BAR_CHARS_MIN = 10
const BAR_CHARS_MAX = 60
const OVERRUN = 'concordat.overrun.'

const SIGNS: { readonly [Status in StepReport['status']]: readonly [string, Style] } = {
  succeeded: ['✓', 'green'],
  failed: ['✗', 'red'],
  waiting: ['◷', 'yellow'],
  started: ['▸', 'cyan'],
}

/** Steps as a waterfall: a bar from start to end on the run's own time, with what each used. */
export function waterfallLines(canvas: Canvas, report: RunReport, now: Date): string[] {
  const { steps } = report
  const until = report.endedAt ?? now // a step that was cut off has no end of its own
  if (steps.length === 0) return [title(canvas, 'Steps', 'none recorded')]
  const shown = steps.slice(0, STEPS_SHOWN_MAX)
  const from = Math.min(...steps.map((step) => step.startedAt.getTime()))
  const to = Math.max(...steps.map((step) => (step.endedAt ?? until).getTime()))
  const barChars = Math.round(Math.min(Math.max(canvas.columns * SHARE_OF_LINE, BAR_CHARS_MIN), BAR_CHARS_MAX))
  const rows = shown.map((step) => [
    sign(canvas, step),
    printable(step.key, 200),
    bar(canvas, step, { from, to, until: until.getTime(), chars: barChars }),
    duration(step.latencyMs ?? (step.endedAt ?? until).getTime() - step.startedAt.getTime()),
    step.tokensIn === null && step.tokensOut === null ? '' : `${count(step.tokensIn)}→${count(step.tokensOut)}`,
    step.costUsd === null ? '' : usd(step.costUsd),
    note(step),
  ])
  const columns = [
    { head: '' },
    { head: 'STEP', flexible: true },
    { head: '' },
    { head: 'TOOK', align: 'right' },
    { head: 'TOKENS', align: 'right', optional: true },
    { head: 'COST', align: 'right', optional: true },
    { head: '', flexible: true, optional: true },
  ] as const
  const hidden = steps.length - shown.length
  return [
    title(canvas, 'Steps', summary(report)),
    ...tableLines(canvas, columns, rows),
    ...(hidden > 0
      ? [canvas.style('dim', `  and ${plural(hidden, 'more step')}: concordat runs steps ${report.runId}`)]
      : []),
  ]
}

export function sign({ style }: Canvas, { status }: StepReport): string {
  const [char, color] = SIGNS[status]
  return style(color, char)
}

function summary({ steps }: RunReport): string {
  const sum = (values: readonly (number | null)[]) => {
    const known = values.filter((value) => value !== null)
    return known.length === 0 ? null : known.reduce((total, value) => total + value, 0)
  }
  const tokensIn = sum(steps.map((step) => step.tokensIn))
  const tokensOut = sum(steps.map((step) => step.tokensOut))
  const cost = sum(steps.map((step) => step.costUsd))
  const failed = steps.filter((step) => step.status === 'failed').length
  return [
    count(steps.length),
    failed > 0 && `${failed} failed`,
    (tokensIn !== null || tokensOut !== null) && `${count(tokensIn)} tokens in, ${count(tokensOut)} out`,
    cost !== null && usd(cost),
  ]
    .filter(Boolean)
    .join(' · ')
}

interface Scale {
  readonly from: number
  readonly to: number
  readonly until: number
  readonly chars: number
}

/** At least one character wide, so that a quick step is seen. */
function bar({ style }: Canvas, step: StepReport, { from, to, until, chars }: Scale): string {
  const perChar = Math.max(to - from, 1) / chars
  const startedAt = step.startedAt.getTime()
  const start = Math.min(Math.floor((startedAt - from) / perChar), chars - 1)
  const took = Math.round(((step.endedAt?.getTime() ?? until) - startedAt) / perChar)
  const length = Math.min(Math.max(took, 1), chars - start)
  return `${' '.repeat(start)}${style(SIGNS[step.status][1], '█'.repeat(length))}${' '.repeat(chars - start - length)}`
}

function note({ attempt, attributes, error, traceGap }: StepReport): string {
  const message = (error as { readonly message?: string } | null)?.message
  const parts = [
    attempt > 1 && `try ${attempt}`,
    message && printable(message, 200),
    traceGap && `trace gap: ${traceGap}`,
    ...Object.entries(attributes ?? {}).map(([name, value]) => {
      return (
        name.startsWith(OVERRUN) &&
        `overrun ${name.slice(OVERRUN.length).replaceAll('_', ' ')} ${printable(String(value), 100)}`
      )
    }),
  ]
  return parts.filter(Boolean).join(' · ')
}
