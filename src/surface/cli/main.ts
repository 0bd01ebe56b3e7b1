#!/usr/bin/env node
import { CommanderError } from 'commander'
import { type ExitCode, reportError } from './errors.ts'
import { createProgram } from './program.ts'
import { processTerminal, type Terminal } from './terminal.ts'

process.exitCode = await main(process.argv.slice(2), processTerminal(process))

/** Runs the command line and returns its exit code. The process ends by itself when all that it opened is closed. */
async function main(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
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
