import type { RunStatus } from '../../domains/runs/runs.ts'
import type { Style, Terminal } from './terminal.ts'

const STYLES: { readonly [Status in RunStatus]: Style } = {
  queued: 'dim',
  running: 'cyan',
  paused: 'yellow',
  succeeded: 'green',
  failed: 'red',
  failed_policy: 'magenta',
  cancelled: 'yellow',
}

/** A run's status in its colour, with what it waits for, that it is parked, or why it is paused. */
export function styledStatus(
  { style }: Pick<Terminal, 'style'>,
  status: RunStatus,
  detail: string | null = null,
): string {
  return style(STYLES[status], detail === null ? status : `${status} ${detail}`)
}

const VERDICT_STYLES: { readonly [word: string]: Style } = {
  SUCCESS: 'green',
  COMPLETE: 'green',
  ACKED: 'green',
  NO_VIOLATION: 'green',
  PARTIAL: 'yellow',
  ABORTED: 'yellow',
  ADVISORY: 'yellow',
  PENDING: 'dim',
  NOT_APPLICABLE: 'dim',
  FAILURE: 'red',
  FAILED: 'red',
  MISSING: 'red',
  INCOMPLETE: 'red',
  STALE: 'red',
  BLOCKED: 'magenta',
  VIOLATION: 'magenta',
}

/** An outcome of a domain in its colour. */
export function styledOutcome({ style }: Pick<Terminal, 'style'>, outcome: string): string {
  const known = VERDICT_STYLES[outcome]
  return known === undefined ? outcome : style(known, outcome)
}
