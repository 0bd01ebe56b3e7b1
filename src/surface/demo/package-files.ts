import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A file of this very package: what the demo's agents work on. */
export interface PackageFile {
  /** Below the package's root, with slashes. */
  readonly path: string
  readonly bytes: number
  readonly lines: number
  readonly words: number
}

/** The root of this package, and of its code: `src` in a checkout, `dist` where it is installed. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../..', import.meta.url))
export const CODE_ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Steps that only read may simply run again after a crash. */
export const READS = { sideEffects: false } as const

const CODE = /\.(ts|js)$/
const DOCUMENT = /\.md$/
const FILES_MAX = 1_000

/** The paths of the package's code files, sorted; without their types in a build. */
export async function codePaths(): Promise<string[]> {
  const paths = await pathsIn(CODE_ROOT)
  return paths.filter((path) => CODE.test(path) && !path.endsWith('.d.ts'))
}

/** The paths of README, CHANGELOG and all below `docs`. */
export async function documentPaths(): Promise<string[]> {
  const top = (await readdir(PACKAGE_ROOT)).filter((name) => DOCUMENT.test(name))
  return [...top, ...(await pathsIn(join(PACKAGE_ROOT, 'docs'))).filter((path) => DOCUMENT.test(path))]
}

async function pathsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const paths = files.map(({ parentPath, name }) => relative(PACKAGE_ROOT, join(parentPath, name)).split(sep).join('/'))
  return paths.sort().slice(0, FILES_MAX)
}

export async function readPackageFile(path: string): Promise<string> {
  return readFile(join(PACKAGE_ROOT, path), 'utf8')
}

export async function measureFile(path: string): Promise<PackageFile> {
  const text = await readPackageFile(path)
  const lines = text.split('\n').length - 1
  return { path, bytes: Buffer.byteLength(text), lines, words: text.match(/\S+/g)?.length ?? 0 }
}
