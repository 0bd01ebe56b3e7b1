import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SCRIPT = new URL('./crash-worker.ts', import.meta.url).pathname

/** Processes that are started again and again share what the first has compiled. */
export const COMPILE_CACHE = join(tmpdir(), 'concordat-test-compile-cache')

/** A worker in a process of its own. */
export interface WorkerProcess {
  readonly pid: number
  /** Resolves when it executes runs; rejects with what it printed if it ends before. */
  readonly ready: Promise<void>
  readonly isReady: boolean
  signal(signal: NodeJS.Signals): void
  /** Resolves when it is gone. */
  readonly exited: Promise<void>
}

export function startWorker(databaseUrl: string, env: Record<string, string> = {}, script = SCRIPT): WorkerProcess {
  const child = spawn(process.execPath, [script], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: databaseUrl,
      GOVERNANCE_PROFILE: 'STRICT',
      EVENT_TRANSPORT: 'memory',
      LEASE_SECONDS: '1',
      WORKER_CONCURRENCY: '8',
      DRAIN_TIMEOUT_SECONDS: '0',
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let isReady = false
  const ready = untilReady(child).then(() => {
    isReady = true
  })
  ready.catch(() => undefined)
  return {
    pid: child.pid ?? 0,
    ready,
    get isReady() {
      return isReady
    },
    signal: (signal) => void child.kill(signal),
    exited: once(child, 'exit').then(() => undefined),
  }
}

async function untilReady(child: ChildProcess): Promise<void> {
  let output = ''
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => chunk.toString().includes('ready') && resolve())
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_096)
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => reject(new Error(`a worker ended with ${code ?? signal}: ${output}`)))
  })
}
