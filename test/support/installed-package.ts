import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { root } from './markdown.ts'

export type Finished = { code: number | null; stdout: string; stderr: string }

/** A project in a temporary folder in which this package is installed as `npm i` would: built, entered by its exports. */
export type Project = {
  folder: string
  write(file: string, text: string): void
  /** Runs a file of the project, or with `concordat` the installed command. */
  node(args: readonly string[], env?: Record<string, string>): Promise<Finished>
  concordat(args: readonly string[], env?: Record<string, string>): Promise<Finished>
  /** Type-checks all TypeScript of the project, as strictly as this package itself. */
  typeCheck(): Finished
  remove(): void
}

/** As for commands in `run-cli.ts`. */
const nodeFlags = ['--liftoff-only']
const processTimeoutMs = 150_000

export function createProject(): Project {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'concordat-docs-')))
  const modules = join(folder, 'node_modules')
  const own = join(modules, 'concordat')
  mkdirSync(own, { recursive: true })
  const built = runTsc(root, ['-p', 'tsconfig.build.json', '--outDir', join(own, 'dist')])
  if (built.code !== 0) throw new Error(`the package can't be built:\n${built.stdout}`)
  copyFileSync(join(root, 'package.json'), join(own, 'package.json'))
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  const write = (file: string, text: string) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  write('package.json', JSON.stringify({ type: 'module' }))
  write('tsconfig.json', JSON.stringify({ extends: join(root, 'tsconfig.json'), include: ['**/*.ts'] }))
  const node: Project['node'] = (args, env = {}) => runNode(folder, args, env)
  return {
    folder,
    write,
    node,
    concordat: (args, env) => node([join(own, 'dist/surface/cli/main.js'), ...args], env),
    typeCheck: () => runTsc(folder, ['-p', 'tsconfig.json']),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function runTsc(cwd: string, args: readonly string[]): Finished {
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const { status, stdout, stderr } = spawnSync(tsc, args, { cwd, encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

/** Reads nothing from this process's own configuration: the pages say what to set. */
function runNode(cwd: string, args: readonly string[], env: Record<string, string>): Promise<Finished> {
  const { PATH = '', HOME = '' } = process.env
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...nodeFlags, ...args], {
      cwd,
      env: { PATH, HOME, NODE_COMPILE_CACHE: join(cwd, 'node_modules', '.compile-cache'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: processTimeoutMs,
    })
    const finished = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => {
      finished.stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      finished.stderr += chunk
    })
    child.on('close', (code) => resolve({ code, ...finished }))
  })
}
