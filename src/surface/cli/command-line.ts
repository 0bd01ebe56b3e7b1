import { CommanderError } from 'commander'
import { type ExitCode, reportError } from './errors.ts'
import { createProgram } from './program.ts'
import { processTerminal } from './terminal.ts'

/** Runs a command and returns its exit code. The process ends by itself when all that it opened is closed. */
export async function runCommandLine(args: readonly string[]): Promise<ExitCode> {
  const terminal = processTerminal(process)
  let exitCode: ExitCode = 0
  const program = createProgram({
    terminal,
    onExit: (code) => {
      exitCode = code
    },
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    return reportError(terminal, error, args.includes('--json'))
  }
}
