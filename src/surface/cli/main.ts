#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import nodeModule from 'node:module'

// A Node that is too old has to get as far as being told: what it may lack is not imported by name, and the rest later.
const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const [majorMin, minorMin] = engines.node.replace('>=', '').split('.').map(Number)
if (major > majorMin || (major === majorMin && minor >= minorMin)) {
  // Before anything else is loaded: it takes more than half off the start of every command.
  nodeModule.enableCompileCache()
  const { runCommandLine } = await import('./command-line.ts')
  const exitCode = await runCommandLine(process.argv.slice(2))
  if (exitCode > 128) process.exit(exitCode) // interrupted: nobody waits for what an agent has left open
  process.exitCode = exitCode
} else {
  process.stderr.write(`concordat needs Node ${engines.node}; this is ${process.versions.node}\n`)
  process.exitCode = 3
}
