import { readFileSync } from 'node:fs'
import { AppError } from './foundation/app-error.ts'

/** Where agents get secrets by name; what it returns is never recorded. */
export interface SecretSource {
  /** Fails with `SECRET_MISSING`. */
  get(name: string): string
}

/** Secrets from environment variables: NAME, or the file that NAME_FILE points to. */
export function environmentSecrets(env: Readonly<Record<string, string | undefined>> = process.env): SecretSource {
  return Object.freeze({
    get(name: string): string {
      const value = env[name] ?? fromFile(name, env[`${name}_FILE`])
      if (value) return value
      throw new AppError('SECRET_MISSING', `secret ${name} is not set`, {
        hint: `set ${name}, or ${name}_FILE to a file that holds it`,
      })
    },
  })
}

function fromFile(name: string, path: string | undefined): string | undefined {
  if (!path) return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new AppError('SECRET_MISSING', `the file that ${name}_FILE names can't be read (${code})`, { cause })
  }
}
