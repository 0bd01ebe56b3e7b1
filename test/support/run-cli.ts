import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../src/surface/cli/main.ts', import.meta.url))
/** Without the optimising compiler for WASM: a command is over before it has paid off, and it takes a second of CPU time. */
const NODE_FLAGS = ['--liftoff-only']
const TIMEOUT_MS = 150_000

export interface CliOptions {
  readonly cwd?: string
  /** Beside PATH and HOME: nothing of the machine's own configuration gets in. */
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

export interface CliResult {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A command that is running. */
export interface RunningCli {
  readonly child: ChildProcess
  /** Resolves when it has ended and all it printed has been read. */
  readonly ended: Promise<CliResult>
  /** Resolves once standard output or error holds the text; rejects when it ends without. */
  printed(text: string): Promise<void>
}

/** Starts the real command line in a process of its own. */
export function startCli(args: readonly string[], { cwd, env = {}, input }: CliOptions = {}): RunningCli {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], {
    cwd,
    env: { PATH, HOME, ...env },
    stdio: 'pipe',
  })
  const printed = { out: '', err: '' }
  const hearers = new Set<() => void>()
  const hear = (stream: 'out' | 'err') => (chunk: Buffer) => {
    printed[stream] += chunk.toString('utf8')
    for (const hearer of hearers) hearer()
  }
  child.stdout.setEncoding('utf8').on('data', hear('out'))
  child.stderr.setEncoding('utf8').on('data', hear('err'))
  child.stdin.on('error', () => {}) // it may not read all of it
  child.stdin.end(input)
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, ...printed })
    })
  })
  return {
    child,
    ended,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!`${printed.out}${printed.err}`.includes(text)) return
          hearers.delete(look)
          resolve()
        }
        hearers.add(look)
        look()
        ended.then(({ code, out, err }) =>
          reject(new Error(`ended with ${code} before it printed ${text}:\n${out}${err}`)),
        )
      }),
  }
}

/** Runs a command to its end. */
export function runCli(args: readonly string[], options?: CliOptions): Promise<CliResult> {
  return startCli(args, options).ended
}
