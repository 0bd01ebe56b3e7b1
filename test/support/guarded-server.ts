import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** The system user that a server runs as; empty for the user that runs the tests. */
export type RunAs = { uid?: number; gid?: number }

export type GuardedServer = { port: number; stop(): Promise<void> }

type GuardedOptions = {
  env?: Record<string, string>
  port?: number | undefined
  runAs?: RunAs
  /** Puts into the server's folder what the script needs. */
  prepare?: (folder: string) => void
}

const readyWithinMs = 60_000
const outputKeptBytes = 4_096

// The guard holds the server and reads a pipe from us. When the pipe ends, because we stop the server or because we
// are gone in whatever way, kill -9 included, the server is stopped and its folder removed. QUIT ends PostgreSQL at
// once and TERM all else; the guard, in a process group of its own, survives both signals and Ctrl-C on the terminal.
const guard = (script: string) => `
exec 3<&0
trap : TERM QUIT
( ${script} ) 3<&- & server=$!
( cat <&3 >/dev/null; kill -QUIT $server; kill -TERM 0 ) &
while kill -0 $server 2>/dev/null; do wait $server; done
rm -rf "$FOLDER"
kill -TERM 0
`

/**
 * Runs a shell script that starts a server with `exec`, on a spare port (`$PORT`) and in a temporary folder
 * (`$FOLDER`), and resolves once the server says that it accepts connections. The server can't outlive this process.
 * Rejects with what the server printed when it ends early or takes longer than a minute.
 */
export async function startGuarded(script: string, options: GuardedOptions = {}): Promise<GuardedServer> {
  const { env = {}, port = await sparePort(), runAs = {}, prepare } = options
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  prepare?.(folder)
  if (runAs.uid !== undefined) execFileSync('chown', ['-R', `${runAs.uid}:${runAs.gid}`, folder])
  const child = spawn('sh', ['-c', guard(script)], {
    ...runAs,
    cwd: folder,
    env: { ...process.env, ...env, FOLDER: folder, PORT: String(port) },
    detached: true,
    stdio: 'pipe',
  })
  detachFromEventLoop(child)
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    const exited = once(child, 'exit')
    child.stdin.end()
    await exited
  }
  try {
    await acceptsConnections(child)
  } catch (error) {
    await stop()
    throw error
  }
  return { port, stop }
}

/** Resolves when the server's output says so: PostgreSQL and Redis happen to use the same words. */
async function acceptsConnections(child: ChildProcess & { stdout: Readable; stderr: Readable }): Promise<void> {
  let output = ''
  const timeout = new AbortController()
  const ready = new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-outputKeptBytes)
      if (/ready to accept connections/i.test(output)) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('error', reject)
    child.on('close', () => reject(new Error(`ended at once: ${output.trim()}`)))
  })
  const late = delay(readyWithinMs, undefined, { signal: timeout.signal }).then(() => {
    throw new Error(`not ready within ${readyWithinMs / 1000} s: ${output.trim()}`)
  })
  try {
    await Promise.race([ready, late])
  } finally {
    timeout.abort()
  }
}

/** A server that nobody stops must not keep this process alive: when the process ends, so does the server. */
function detachFromEventLoop(child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable }): void {
  child.unref()
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref()
  }
}

async function sparePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no spare port')
  return address.port
}
