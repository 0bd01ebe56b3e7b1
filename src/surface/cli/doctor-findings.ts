import type { ExitCode } from './errors.ts'

/** One thing that doctor looked at. `exitCode` is set where the command should fail for it. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'error'
  readonly area: 'configuration' | 'database' | 'events' | 'workers' | 'not enforced'
  readonly text: string
  /** What to do. */
  readonly hint?: string
  readonly exitCode?: ExitCode
}

export function ok(area: Finding['area'], text: string): Finding {
  return { level: 'ok', area, text }
}

export function warning(area: Finding['area'], text: string, hint?: string): Finding {
  return { level: 'warning', area, text, ...(hint && { hint }) }
}

/** Of two bad things the worse decides: unreachable (4) before configuration (3). */
export function worstExitCode(findings: readonly Finding[]): ExitCode {
  return findings.reduce<ExitCode>((worst, { exitCode = 0 }) => (exitCode > worst ? exitCode : worst), 0)
}
