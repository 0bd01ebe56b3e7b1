import type { AppError, ErrorCode } from '../../foundation/app-error.ts'
import { toJsonLine } from './json.ts'
import { printable, type Terminal } from './terminal.ts'

const MESSAGE_CHARS_MAX = 1_000

/**
 * Tells lines that can't be replayed on standard error. For tools each is one JSON object on a line of its own, as
 * there may be many; for people the hint comes only with the first of its kind.
 */
export function skippedLines(terminal: Terminal, asJson = false): (error: AppError) => void {
  const hinted = new Set<ErrorCode>()
  return ({ code, message, hint, details }) => {
    if (asJson) {
      terminal.err(toJsonLine({ error: { code, message, hint, ...(details && { details }) } }))
      return
    }
    terminal.err(`${terminal.styleErr(['red', 'bold'], code)}  ${printable(message, MESSAGE_CHARS_MAX)}`)
    if (!hinted.has(code)) terminal.err(`  ${terminal.styleErr('dim', 'hint')}  ${printable(hint, MESSAGE_CHARS_MAX)}`)
    hinted.add(code)
  }
}
