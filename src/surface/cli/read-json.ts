import { isUtf8 } from 'node:buffer'
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

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'you may not read it',
}

/** All of a stream as UTF-8. Fails with `INVALID_REQUEST` when it can't be read or is none, `INPUT_TOO_LARGE` beyond the bound. */
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
    const { code = '', message } = cause as NodeJS.ErrnoException
    throw new AppError('INVALID_REQUEST', `cannot read ${what}: ${UNREADABLE[code] ?? message}`, {
      cause,
      ...(UNREADABLE[code] && { hint: 'Name a file that is there and that you may read, or - for standard input.' }),
    })
  }
  if (sizeBytes > bytesMax)
    throw new AppError('INPUT_TOO_LARGE', `${what} has more than ${bytesMax} bytes`, hint ? { hint } : {})
  return textOf(Buffer.concat(chunks), what)
}

/** Without the mark that some editors begin a file with. Other bytes than UTF-8 would be read as something else. */
function textOf(bytes: Buffer, what: string): string {
  if (isUtf8(bytes)) return bytes.toString('utf8').replace(/^\ufeff/, '')
  const lines = bytes.toString('latin1').split('\n')
  const line = lines.findIndex((each) => !isUtf8(Buffer.from(each, 'latin1'))) + 1
  throw new AppError('INVALID_REQUEST', `${what} is not UTF-8 text${line > 0 ? `: see line ${line}` : ''}`, {
    hint: 'Save it as UTF-8.',
  })
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
