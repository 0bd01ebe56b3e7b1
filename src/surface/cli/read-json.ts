import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { AppError } from '../../foundation/app-error.ts'
import { inexactInteger, type Json, stringifyJson } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'

/** Escapes may double a text; the value itself is held against the bound once it is parsed. */
const TEXT_BYTES_MAX = 2 * limits.runInputBytesMax

/** The value of an option that takes JSON as it is, `@file` for a file's, `-` for standard input's. */
export async function jsonOption(name: string, text: string): Promise<Json> {
  if (text === '-') {
    const read = await readText(process.stdin, 'standard input')
    return parse(read, `${name} from standard input`, 'Correct what comes from standard input: it must be JSON.')
  }
  if (text.startsWith('@')) return jsonFile(name, text.slice(1))
  return parse(
    text,
    name,
    `Quote it for the shell, as in ${name} '{"ticket":"T-1"}', or pass @file or - for standard input.`,
  )
}

export async function jsonFile(name: string, path: string): Promise<Json> {
  const text = await readText(createReadStream(path), path)
  return parse(text, `${name} from ${path}`, 'Correct the file: it must be JSON.')
}

/** All of a stream as UTF-8. Fails with `INVALID_REQUEST` when it can't be read, `INPUT_TOO_LARGE` beyond the bound. */
export async function readText(
  stream: Readable,
  what: string,
  bytesMax = TEXT_BYTES_MAX,
  hint?: string,
): Promise<string> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  try {
    for await (const chunk of stream) {
      sizeBytes += chunk.length
      if (sizeBytes > bytesMax) break
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new AppError('INVALID_REQUEST', `cannot read ${what}: ${(cause as Error).message}`, { cause })
  }
  if (sizeBytes > bytesMax)
    throw new AppError('INPUT_TOO_LARGE', `${what} has more than ${bytesMax} bytes`, hint ? { hint } : {})
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string, what: string, hint: string): Json {
  let value: Json
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError('INVALID_REQUEST', `${what} is not JSON: ${(cause as Error).message}`, { cause, hint })
  }
  refuseTooLarge(value, what)
  const inexact = inexactInteger(text)
  if (inexact !== null) {
    throw new AppError(
      'INVALID_REQUEST',
      `${what} has the number ${inexact.slice(0, 40)}, which can not be kept exactly`,
      {
        hint: 'Numbers here have 53 bits, as in JavaScript: quote it, so that it is a text.',
      },
    )
  }
  return value
}

/** The submission would refuse it too, but as a part of the run's input: here it is known what it was given as. */
function refuseTooLarge(value: Json, what: string): void {
  try {
    stringifyJson(value, { bytesMax: limits.runInputBytesMax, what, tooLargeCode: 'INPUT_TOO_LARGE' })
  } catch (cause) {
    if (!(cause instanceof AppError) || cause.code !== 'NOT_SERIALIZABLE') throw cause
    // What was JSON can be kept as JSON, but for its nesting.
    throw new AppError('INPUT_TOO_LARGE', `The ${what} is nested more than ${limits.jsonDepthMax} levels deep`, {
      cause,
      hint: 'Nest it less, or store the data elsewhere and pass its address.',
    })
  }
}
