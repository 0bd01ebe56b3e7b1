#!/usr/bin/env node
// Runs a task of this checkout with all that it needs installed: `node scripts/run.mjs vitest run`, `… bench/bench.ts`.
// Every npm script goes through here, so a fresh machine with git, npm and an old Node needs no set-up step.
// Plain JavaScript that Node 18 understands, and no imports but Node's own: it runs before anything is installed.
import { spawn } from 'node:child_process'
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const toolchain = join(root, 'toolchain')
const lockFile = join(toolchain, '.setup.lock')

/** The first Node that runs TypeScript without a warning; an older one gets Node 24 from the toolchain's lock file. */
const oldestNode = { major: 24, minor: 12 }

const [task, ...args] = process.argv.slice(2)
if (task === undefined) {
  console.error('usage: node scripts/run.mjs FILE.ts|PROGRAM [ARGUMENT…]')
  process.exit(2)
}
run(task, args, await prepare())

/** Installs what is missing and answers with the Node to use. Installing is for one process at a time. */
async function prepare() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const nodeIsFit = major > oldestNode.major || (major === oldestNode.major && minor >= oldestNode.minor)
  const node = nodeIsFit ? process.execPath : join(toolchain, 'node_modules', 'node', 'bin', 'node')
  const folders = nodeIsFit ? [root] : [toolchain, root]
  if (folders.every(isInstalled)) return node
  await lock()
  try {
    if (!nodeIsFit) await install(toolchain, 'Node 24', process.execPath)
    await install(root, 'packages', node)
  } finally {
    rmSync(lockFile, { force: true })
  }
  return node
}

/** Compares the lock file with npm's own record of what it installed, which npm writes when all is in place. */
function isInstalled(folder) {
  const wanted = packagesIn(join(folder, 'package-lock.json'))
  const found = packagesIn(join(folder, 'node_modules', '.package-lock.json'))
  return Object.entries(wanted).every(([path, { version, optional, devOptional }]) => {
    if (path === '') return true
    // An optional package is left out where it is for another platform.
    return found[path] ? found[path].version === version : optional || devOptional
  })
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return {}
  }
}

async function install(folder, what, node) {
  if (isInstalled(folder)) return
  const started = Date.now()
  process.stderr.write(`Installing ${what} (once) … `)
  const options = ['ci', '--include=dev', '--loglevel=error', '--no-audit', '--no-fund', '--no-progress']
  const npm = process.env.npm_execpath ?? ''
  const [command, before] = npm.endsWith('npm-cli.js') ? [node, [npm]] : ['npm', []]
  const { code, output } = await finished(command, [...before, ...options], folder, environment(node))
  process.stderr.write(`${code === 0 ? '' : 'failed, '}${((Date.now() - started) / 1000).toFixed(1)} s\n`)
  if (code === 0) return
  rmSync(lockFile, { force: true })
  console.error(`${output}\nCould not install ${what}: \`npm ci\` in ${folder} ended with ${code}.`)
  process.exit(1)
}

function finished(command, args, cwd, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const output = []
    child.stdout.on('data', (chunk) => output.push(chunk))
    child.stderr.on('data', (chunk) => output.push(chunk))
    child.on('error', (error) => resolve({ code: error.message, output: '' }))
    child.on('close', (code, signal) => resolve({ code: code ?? signal, output: Buffer.concat(output).toString() }))
  })
}

function environment(node) {
  const path = [dirname(node), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  return { ...process.env, PATH: path }
}

/** Waits until the lock file is ours. It names its holder; the lock of a process that is gone is taken over. */
async function lock() {
  const mine = `${lockFile}.${process.pid}`
  writeFileSync(mine, String(process.pid))
  try {
    // A link, not an exclusive create: the name appears together with its content.
    for (let tries = 0; !linked(mine); tries++) {
      if (tries === 1) console.error('Waiting for another process that installs …')
      const holder = readHolder()
      if (holder !== undefined && !isAlive(holder)) rmSync(lockFile, { force: true })
      // Also after a takeover, so that whoever else found the same dead holder has removed its file before one links.
      await delay(200)
    }
  } finally {
    rmSync(mine, { force: true })
  }
}

function linked(mine) {
  try {
    linkSync(mine, lockFile)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

function readHolder() {
  try {
    return Number(readFileSync(lockFile, 'utf8'))
  } catch {
    return undefined // released meanwhile
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Becomes the task: same terminal, same signals, same exit code. */
function run(task, args, node) {
  const [command, before] = /\.[cm]?[jt]s$/.test(task) ? [node, [task]] : [task, []]
  const child = spawn(command, [...before, ...args], { cwd: root, env: environment(node), stdio: 'inherit' })
  const onTerminal = [0, 1, 2].some((stream) => isatty(stream))
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C on a terminal reaches the task by itself: passed on, it would count as a second Ctrl-C.
      if (onTerminal && (signal === 'SIGINT' || signal === 'SIGQUIT')) return
      child.kill(signal)
    })
  }
  child.on('error', (error) => {
    console.error(`${task}: ${error.message}`)
    process.exit(127)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
