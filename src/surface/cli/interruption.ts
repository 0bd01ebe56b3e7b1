import type { ExitCode } from './errors.ts'
import type { Terminal } from './terminal.ts'

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const // 128 and the signal's number, as shells have it

/** Hears Ctrl-C, SIGTERM, and that nobody reads what is printed any more, until `end` is called. */
export interface Interruption {
  /** Aborts at the first one: the command drains. The second one ends the process at once. */
  readonly signal: AbortSignal
  /** Of a command that it kept from its end: 130 after Ctrl-C, 143 after SIGTERM, else 1. */
  readonly exitCode: ExitCode
  end(): void
}

export function onInterruption(terminal: Terminal, draining: string): Interruption {
  const abort = new AbortController()
  let exitCode: ExitCode = 1
  const hear = (signal: keyof typeof EXIT_CODES) => {
    if (abort.signal.aborted) process.exit(EXIT_CODES[signal])
    exitCode = EXIT_CODES[signal]
    terminal.err(`${draining} (Ctrl-C again quits at once)`)
    abort.abort()
  }
  process.on('SIGINT', hear)
  process.on('SIGTERM', hear)
  return {
    signal: AbortSignal.any([abort.signal, terminal.unread]),
    get exitCode() {
      return exitCode
    },
    end: () => {
      process.off('SIGINT', hear)
      process.off('SIGTERM', hear)
    },
  }
}
