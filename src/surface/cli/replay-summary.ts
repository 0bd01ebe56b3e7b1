import { usdFromNano } from '../../foundation/money.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { type Counts, countFootprints } from '../footprint/footprint.ts'
import type { Canvas } from './canvas.ts'
import { count, duration, fillLines, plural, usd } from './format.ts'
import type { Submissions } from './replay-submit.ts'
import { styledOutcome, styledStatus } from './status-style.ts'

/** What `replay --json` prints: counts from the database for the runs of the files, whoever submitted them when. */
export interface ReplaySummary {
  readonly lines: number
  readonly malformed: number
  /** Lines that were replayed before with other content. */
  readonly refused: number
  /** Lines that repeat another line of the files: the same run. */
  readonly duplicates: number
  readonly submitted: number
  readonly runs: {
    readonly succeeded: number
    readonly failed: number
    readonly failed_policy: number
    readonly cancelled: number
  }
  readonly steps: number
  /** Null where no step has it recorded. */
  readonly costUsd: number | null
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly incidents: Counts
  readonly evaluations: Counts
  readonly traces: { readonly COMPLETE: number; readonly ABORTED: number }
  readonly audit: { readonly COMPLETE: number; readonly INCOMPLETE: number; readonly STALE: number }
  readonly outbox: { readonly unpublished: number }
  readonly events: Counts
  readonly seconds: number
}

export async function summaryOf(
  tx: Tx,
  tenantId: string,
  { lines, malformed, refused, duplicates, submitted, runIds }: Submissions,
  seconds: number,
): Promise<ReplaySummary> {
  const counted = await countFootprints(tx, tenantId, [...runIds])
  const { runs, traces, audit, incidents, evaluations, steps, events, unpublished } = counted
  return {
    lines,
    malformed,
    refused,
    duplicates,
    submitted,
    runs: {
      succeeded: runs.succeeded ?? 0,
      failed: runs.failed ?? 0,
      failed_policy: runs.failed_policy ?? 0,
      cancelled: runs.cancelled ?? 0,
    },
    steps,
    costUsd: counted.costNanoUsd === null ? null : usdFromNano(counted.costNanoUsd),
    tokensIn: counted.tokensIn === null ? null : Number(counted.tokensIn),
    tokensOut: counted.tokensOut === null ? null : Number(counted.tokensOut),
    incidents,
    evaluations,
    traces: { COMPLETE: traces.COMPLETE ?? 0, ABORTED: traces.ABORTED ?? 0 },
    audit: { COMPLETE: audit.COMPLETE ?? 0, INCOMPLETE: audit.INCOMPLETE ?? 0, STALE: audit.STALE ?? 0 },
    outbox: { unpublished },
    events,
    seconds: Math.round(seconds * 1_000) / 1_000,
  }
}

/** As documented for programs, sums are numbers: of what nobody recorded, 0. */
export function withSums({ costUsd, tokensIn, tokensOut, ...rest }: ReplaySummary): ReplaySummary {
  return { ...rest, costUsd: costUsd ?? 0, tokensIn: tokensIn ?? 0, tokensOut: tokensOut ?? 0 }
}

/** Whether every line became a run whose whole footprint is there and announced. */
export function isSound({ malformed, refused, audit, outbox, runs }: ReplaySummary): boolean {
  const ended = runs.succeeded + runs.failed + runs.failed_policy + runs.cancelled
  return malformed === 0 && refused === 0 && audit.COMPLETE === ended && outbox.unpublished === 0
}

const LABEL_CHARS = 11
const NOT_RECORDED = 'not recorded'

/** The same for people. */
export function summaryLines(canvas: Canvas, summary: ReplaySummary): string[] {
  const { lines, malformed, refused, duplicates, submitted, runs, steps, audit, outbox, events, seconds } = summary
  const ended = Object.values(runs).reduce((sum, n) => sum + n, 0)
  const repeated = duplicates > 0 ? `, ${plural(duplicates, 'duplicate')}` : ''
  const wrong = Object.entries({ malformed, refused })
    .map(([what, n]) => (n > 0 ? `, ${canvas.style('red', `${count(n)} ${what}`)}` : ''))
    .join('')
  const row = (name: string, ...texts: string[]) => {
    return texts.map((text, i) => `  ${canvas.style('dim', (i === 0 ? name : '').padEnd(LABEL_CHARS))}  ${text}`)
  }
  const outcomes = (counts: Counts) => items(counts, (name) => styledOutcome(canvas, name)).join('  ')
  const statuses = items(runs, (status) => styledStatus(canvas, status as keyof typeof runs))
  const eventChars = canvas.columns - LABEL_CHARS - 4
  return [
    `${canvas.style('bold', plural(ended, 'run'))} of ${plural(lines, 'line')}${repeated}${wrong}; ${count(submitted)} new, in ${duration(seconds * 1_000)}`,
    ...row('runs', statuses.join('  ')),
    ...row('incidents', outcomes(summary.incidents)),
    ...row('evaluations', outcomes(summary.evaluations)),
    ...row('traces', outcomes(summary.traces)),
    ...row('audit', outcomes(audit)),
    ...row('steps', count(steps)),
    ...row('tokens', tokensText(summary)),
    ...row('cost', summary.costUsd === null ? NOT_RECORDED : usd(summary.costUsd)),
    ...row('events', ...fillLines(items(events, String), eventChars, '  ')),
    ...row('outbox', `${count(outbox.unpublished)} unpublished`),
  ]
}

function tokensText({ tokensIn, tokensOut }: ReplaySummary): string {
  if (tokensIn === null && tokensOut === null) return NOT_RECORDED
  const shown = (tokens: number | null) => (tokens === null ? NOT_RECORDED : count(tokens))
  return `${shown(tokensIn)} in  ${shown(tokensOut)} out`
}

function items(counts: Counts, shown: (name: string) => string): string[] {
  const present = Object.entries(counts).filter(([, n]) => n > 0)
  return present.length === 0 ? ['none'] : present.map(([name, n]) => `${count(n)} ${shown(name)}`)
}
