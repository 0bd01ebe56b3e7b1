import { CommanderError } from 'commander'
import { type ExitCode, reportError } from './errors.ts'
import { createProgram } from './program.ts'
import { type OpenSession, openSession } from './session.ts'
import { processTerminal, type Terminal } from './terminal.ts'

export interface Surroundings {
  readonly terminal: Terminal
  readonly open: OpenSession
}

/** Runs a command and returns its exit code. The process ends by itself when all that it opened is closed. */
export async function runCommandLine(
  args: readonly string[],
  { terminal, open }: Surroundings = { terminal: processTerminal(process), open: openSession },
): Promise<ExitCode> {
  const asJson = args.includes('--json')
  let exitCode: ExitCode = 0
  const program = createProgram({
    terminal,
    open,
    asJson,
    onExit: (code) => {
      exitCode = code
    },
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    return reportError(terminal, error, asJson)
  }
}
