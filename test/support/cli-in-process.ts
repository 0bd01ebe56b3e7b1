import type { Concordat } from '../../src/runtime.ts'
import { runCommandLine } from '../../src/surface/cli/command-line.ts'
import type { CliResult } from './run-cli.ts'

const COLUMNS = 120

/** Runs commands in this process, on a runtime that is open already and stays so: a command in a few milliseconds. */
export function cliOn(concordat: Concordat) {
  return cliWith(async () => ({ ...concordat, close: () => concordat.stop() }))
}

/** The same for commands that need no runtime: opening one fails. */
export function cliWithoutRuntime() {
  return cliWith(async () => {
    throw new Error('this command was to open no runtime')
  })
}

function cliWith(open: () => Promise<Concordat>) {
  return async (...args: string[]): Promise<CliResult> => {
    const printed = { out: '', err: '' }
    const plain = (_style: unknown, text: string) => text
    const terminal = {
      out: (line: string) => {
        printed.out += `${line}\n`
      },
      err: (line: string) => {
        printed.err += `${line}\n`
      },
      live: () => () => {},
      unread: new AbortController().signal,
      columns: COLUMNS,
      style: plain,
      styleErr: plain,
    }
    const code = await runCommandLine(args, { terminal, open })
    return { code, ...printed }
  }
}
