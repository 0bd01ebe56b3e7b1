import type { StepReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { count, duration, timeOfDay, usd } from './format.ts'
import { toJson } from './json.ts'
import { sign } from './run-view-steps.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

const PAYLOAD_CHARS_MAX = 500

export const runsSteps = defineCommand({
  usage: 'steps <run>',
  description: 'the steps of a run; with --json their inputs and outputs in full',
  run: async (context) => {
    const { terminal, options } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { tenantId, runId } = await namedRun(concordat, context)
      const { steps } = await concordat.runs.get(tenantId, runId)
      if (options.json) terminal.out(toJson({ runId, tenantId, steps }))
      else if (steps.length === 0) terminal.out(`Run ${runId} has recorded no step.`)
      else for (const line of stepLines(terminal, steps)) terminal.out(line)
      return 0
    })
  },
})

function stepLines(terminal: Terminal, steps: readonly StepReport[]): string[] {
  const columns = [
    { head: '' },
    { head: 'STEP', flexible: true },
    { head: 'KIND' },
    { head: 'TRY', align: 'right' },
    { head: 'START (UTC)', optional: true },
    { head: 'TOOK', align: 'right' },
    { head: 'TOKENS', align: 'right', optional: true },
    { head: 'COST', align: 'right', optional: true },
    { head: 'RESULT', flexible: true },
  ] as const
  const rows = steps.map((step) => [
    sign(terminal, step),
    printable(step.key, 200),
    step.kind,
    String(step.attempt),
    timeOfDay(step.startedAt),
    duration(step.latencyMs),
    `${count(step.tokensIn)}→${count(step.tokensOut)}`,
    usd(step.costUsd),
    resultText(step),
  ])
  return tableLines(terminal, columns, rows)
}

function resultText({ error, output, status }: StepReport): string {
  const message = (error as { readonly message?: string } | null)?.message
  if (message !== undefined) return printable(message, PAYLOAD_CHARS_MAX)
  if (status !== 'succeeded') return status
  const text = typeof output === 'string' ? output : JSON.stringify(output)
  return printable(text.slice(0, 2 * PAYLOAD_CHARS_MAX), PAYLOAD_CHARS_MAX)
}
