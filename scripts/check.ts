/** The static gate, `npm run check`: every step runs, each prints a line, and a step that fails shows all it said. */
import { spawn } from 'node:child_process'

const steps: readonly [name: string, command: string, args: readonly string[]][] = [
  ['format and lint', 'biome', ['check', '--error-on-warnings', '--max-diagnostics=200']],
  ['types', 'tsc', ['--noEmit']],
  ['layers', 'node', ['scripts/blca.ts']],
  ['dead code', 'knip', ['--no-config-hints']],
  ['docs', 'node', ['scripts/reference-docs.ts', '--check']],
]

let failed = 0
for (const [name, command, args] of steps) {
  const started = performance.now()
  const { ok, output } = await run(command, args)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${ok ? '✓' : '✗'} ${name.padEnd(15)} ${seconds.padStart(5)} s`)
  if (!ok) console.log(output.trimEnd().replace(/^/gm, '    '))
  failed += ok ? 0 : 1
}
console.log(failed === 0 ? 'All checks passed.' : `${failed} of ${steps.length} checks failed.`)
process.exitCode = failed === 0 ? 0 : 1

function run(command: string, args: readonly string[]): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const keep = (chunk: Buffer): void => {
      output += chunk.toString()
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => resolve({ ok: false, output: error.message }))
    child.on('close', (code) => resolve({ ok: code === 0, output }))
  })
}
