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

const CODE = /\.(ts|js)$/
const FILES_MAX = 1_000

/** The paths of the package's code files, sorted; without their types in a build. */
export async function codePaths(): Promise<string[]> {
  const entries = await readdir(CODE_ROOT, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && CODE.test(entry.name) && !entry.name.endsWith('.d.ts'))
  return files
    .map(({ parentPath, name }) => relative(PACKAGE_ROOT, join(parentPath, name)).split(sep).join('/'))
    .sort()
    .slice(0, FILES_MAX)
}

export async function readPackageFile(path: string): Promise<string> {
  return readFile(join(PACKAGE_ROOT, path), 'utf8')
}

export async function measureFile(path: string): Promise<PackageFile> {
  const text = await readPackageFile(path)
  const lines = text.split('\n').length - 1
  return { path, bytes: Buffer.byteLength(text), lines, words: text.match(/\S+/g)?.length ?? 0 }
}
