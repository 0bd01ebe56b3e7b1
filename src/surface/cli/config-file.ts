import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import type { ConcordatDefinition } from '../../runtime.ts'

const FILE_NAMES = ['ts', 'mts', 'js', 'mjs'].map((ending) => `concordat.config.${ending}`)

const anything = z.custom<unknown>((value) => value !== undefined)
const listOf = (what: string) => {
  const isOne = (value: unknown) => typeof value === 'object' && value !== null && 'name' in value
  return z.array(z.custom<unknown>(isOne, { error: `is not ${what}` })).optional()
}

/** The shape only: what is in agents and skills was checked when they were defined. */
const definition = z.strictObject({
  agents: listOf('what defineAgent returns'),
  skills: listOf('what defineSkill returns'),
  participants: listOf('a participant with a name'),
  sinks: z.array(anything).optional(),
  handlers: listOf('a handler with a name'),
  onReactorUnhealthy: z
    .custom<unknown>((value) => typeof value === 'function', { error: 'is not a function' })
    .optional(),
  models: z.record(z.string(), anything).optional(),
  prices: z.record(z.string(), anything).optional(),
  authorize: z.custom<unknown>((value) => typeof value === 'function', { error: 'is not a function' }).optional(),
  allowedPrivateHosts: z.array(z.string()).optional(),
  secrets: z.object({ get: anything }).optional(),
  codec: z.object({ encode: anything, decode: anything }).optional(),
})

export interface ConfigFile {
  /** Null: there is none, which is fine unless one was asked for. */
  readonly path: string | null
  readonly definition: ConcordatDefinition
}

/**
 * Loads the configuration file: the one that is asked for, else `concordat.config.ts` (or .mts, .js, .mjs) in the
 * folder. Node strips its types, so that it needs no build step. Fails with `INVALID_CONFIGURATION`, file and reason.
 */
export async function loadConfigFile(folder: string, asked: string | undefined): Promise<ConfigFile> {
  const path = asked ?? FILE_NAMES.find((name) => existsSync(resolve(folder, name)))
  if (path === undefined) return { path: null, definition: {} }
  const absolute = resolve(folder, path)
  if (!existsSync(absolute)) {
    throw new AppError('INVALID_CONFIGURATION', `${path}: there is no such file`, {
      hint: 'Name a file that exists; without --config it is concordat.config.ts, .mts, .js or .mjs here, or none.',
    })
  }
  const loaded: { readonly default?: unknown } = await import(pathToFileURL(absolute).href).catch((error: unknown) => {
    throw broken(path, reasonOf(error), error)
  })
  if (loaded.default === undefined) throw broken(path, 'it has no default export', undefined)
  const parsed = definition.safeParse(loaded.default)
  if (!parsed.success) throw broken(path, z.prettifyError(parsed.error), parsed.error)
  return { path: absolute, definition: loaded.default as ConcordatDefinition }
}

function reasonOf(error: unknown): string {
  if (error instanceof AppError) return `${error.code}: ${error.message}`
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

function broken(path: string, reason: string, cause: unknown): AppError {
  return new AppError('INVALID_CONFIGURATION', `${path}: ${reason}`, {
    hint: hintOn(reason),
    ...(cause !== undefined && { cause }),
  })
}

function hintOn(reason: string): string {
  if (/Cannot use import statement|Unexpected token 'export'/.test(reason)) {
    return 'Name the file concordat.config.mts, or set "type": "module" in package.json.'
  }
  return 'The file exports `defineConfig({ agents: […], … })` as its default.'
}
