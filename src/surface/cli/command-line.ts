import { CommanderError } from 'commander'
import { AppError } from '../../foundation/app-error.ts'
import { type ExitCode, reportError } from './errors.ts'
import { createProgram } from './program.ts'
import type { OpenSession } from './session.ts'
import { processTerminal, type Terminal } from './terminal.ts'

export interface Surroundings {
  readonly terminal: Terminal
  readonly open: OpenSession
}

/** Runs a command and returns its exit code. The process ends by itself when all that it opened is closed. */
export async function runCommandLine(
  args: readonly string[],
  { terminal, open }: Surroundings = { terminal: processTerminal(process), open: openWhenNeeded },
): Promise<ExitCode> {
  const asJson = args.includes('--json')
  let exitCode: ExitCode = 0
  const onExit = (code: ExitCode) => {
    exitCode = code
  }
  const program = await createProgram({ terminal, open, asJson, onExit }, args)
  const unfinished = (code: number) => {
    if (code <= 128) process.exitCode = reportError(terminal, cutOff(), asJson) // a person's second Ctrl-C is not told
  }
  process.on('exit', unfinished)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    return reportError(terminal, error, asJson)
  } finally {
    process.off('exit', unfinished)
  }
}

/** Loads configuration and log with the first session: version and help need neither. */
const openWhenNeeded: OpenSession = async (...session) => (await import('./session.ts')).openSession(...session)

/** An agent may call `process.exit(0)`: that must not look as if the command had done its work. */
function cutOff(): AppError {
  return new AppError('AGENT_FAILED', 'the process ended before the command had finished', {
    hint: 'Look for process.exit in agents, skills and handlers; what the command did until then is in the database.',
  })
}
