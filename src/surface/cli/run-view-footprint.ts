import type { RunReport } from '../library/library.ts'
import { type Canvas, title } from './canvas.ts'
import { count, plural, timeOfDay, UNKNOWN } from './format.ts'
import { styledOutcome } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

/** Incident, verdict, trace: what the run's end leaves, whatever the end. */
export function footprintLines(canvas: Canvas, report: RunReport): string[] {
  const { incident, evaluation, violations, trace } = report
  const none = report.endedAt === null ? 'not yet' : canvas.style('red', 'missing')
  const incidentText = incident
    ? [styledOutcome(canvas, incident.outcome), incident.status, incident.severity, incident.reason, incident.message]
    : [none]
  const findings = evaluation?.verdict.findings ?? []
  const verdictText = evaluation
    ? [styledOutcome(canvas, evaluation.verdict.outcome), ...findings.map(findingText)]
    : [none]
  const traceText = trace
    ? [
        trace.ending ? styledOutcome(canvas, trace.ending) : 'open',
        trace.stepCount !== null && plural(trace.stepCount, 'step'),
        trace.gapCount !== null && plural(trace.gapCount, 'gap'),
        trace.startedLate && 'started late',
        trace.traceId,
      ]
    : [none]
  const row = (name: string, parts: readonly (string | false | null)[]) => {
    const text = parts.filter((part) => typeof part === 'string' && part !== '') as string[]
    return `${canvas.style('bold', name.padEnd(10))}${text[0] ?? ''}  ${text
      .slice(1)
      .map((part) => printable(part, 500))
      .join(' · ')}`.trimEnd()
  }
  const met = violations.map((violation) => violationLine(canvas, violation))
  return [row('Incident', incidentText), row('Verdict', verdictText), ...met, row('Trace', traceText)]
}

type Finding = NonNullable<RunReport['evaluation']>['verdict']['findings'][number]

function findingText(finding: Finding): string {
  const { name, version, effect, met, note } = finding
  const held =
    'when' in finding
      ? finding.when
      : `${finding.metric} ${finding.value === null ? UNKNOWN : finding.value} of ${finding.limit}`
  return `${met === false ? `${effect}: ` : ''}${name}@${version} ${held}${note === undefined ? '' : ` (${note})`}`
}

type Violation = RunReport['violations'][number]

const ASKED = { CONTINUE: 'yellow', PAUSE: 'yellow', TERMINATE: 'red', SKIP: 'dim' } as const

/** When, what it asked for, what was in the way, and by which versions where the policy has changed. */
function violationLine(
  canvas: Canvas,
  { at, type, decision, message, previousVersion, policyVersion }: Violation,
): string {
  const changed =
    previousVersion === policyVersion ? '' : ` (version ${previousVersion ?? 'none'} → ${policyVersion ?? 'none'})`
  const asked = canvas.style(ASKED[decision], decision === 'CONTINUE' ? 'warned' : decision.toLowerCase())
  return `${' '.repeat(10)}${timeOfDay(new Date(at))}  ${type}  ${asked}  ${printable(message, 500)}${changed}`
}

/** The run's events with where they were published. */
export function eventLines(canvas: Canvas, { events }: RunReport): string[] {
  if (events.length === 0) return [title(canvas, 'Events', 'none kept')]
  const columns = [
    { head: 'EVENT' },
    { head: 'AT (UTC)' },
    { head: 'PARTITION', align: 'right' },
    { head: 'POSITION', align: 'right' },
  ] as const
  const rows = events.map(({ type, time, partition, position }) => {
    return [type, timeOfDay(new Date(time)), String(partition), position === null ? 'waits' : count(position)]
  })
  return [title(canvas, 'Events'), ...tableLines(canvas, columns, rows)]
}
