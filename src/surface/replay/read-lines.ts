import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { AppError } from '../../foundation/app-error.ts'
import { type LineBytes, LineSplitter } from './line-splitter.ts'

/** A line that is not blank: its text, or why it has none. */
export type RawLine = { readonly lineNumber: number; readonly bytesRead: number } & (
  | { readonly text: string }
  | { readonly unreadable: string }
)

export interface LineFile {
  /** What `bytesRead` of the last line comes to. */
  readonly sizeBytes: number
  readonly lines: AsyncGenerator<RawLine, void, void>
}

const LINE_BYTES_MAX = 16_777_216 // twice the largest input of a run, as its escapes may have it
const READ_BYTES = 16_384 // a thousandfold when it is unpacked, at the worst

/**
 * Opens a text file, gzipped if it ends in `.gz`, to read it line by line; never more than a line is in memory. A line
 * that is too long or not UTF-8 comes with the reason and reading goes on; gzip data that is damaged or ends too early
 * comes so too, and is the end. Fails with `INVALID_REQUEST` if there is no such file or it can't be read.
 */
export async function openLines(path: string): Promise<LineFile> {
  const { size, isFile } = await stat(path).then(
    (found) => ({ size: found.size, isFile: found.isFile() }),
    (cause) => {
      throw cannotRead(path, cause)
    },
  )
  if (!isFile) throw new AppError('INVALID_REQUEST', `${path} is not a file`)
  return { sizeBytes: size, lines: readLines(path) }
}

async function* readLines(path: string): AsyncGenerator<RawLine, void, void> {
  const file = createReadStream(path, { highWaterMark: READ_BYTES })
  const splitter = new LineSplitter(LINE_BYTES_MAX)
  try {
    for await (const chunk of path.endsWith('.gz') ? unpacked(file) : file) {
      for (const line of splitter.push(chunk)) yield* rawLine(line, file.bytesRead)
    }
    for (const line of splitter.end()) yield* rawLine(line, file.bytesRead)
  } catch (error) {
    if (!isGzipError(error)) throw cannotRead(path, error)
    const unreadable = `the gzip data is damaged or ends too early (${error.code}); what follows is lost`
    yield { lineNumber: splitter.lineNumber + 1, bytesRead: file.bytesRead, unreadable }
  }
}

function* rawLine({ lineNumber, bytes }: LineBytes, bytesRead: number): Generator<RawLine> {
  if (bytes === null) {
    yield { lineNumber, bytesRead, unreadable: `the line is longer than ${LINE_BYTES_MAX} bytes` }
    return
  }
  const text = decodeUtf8(bytes)
  if (text === null) yield { lineNumber, bytesRead, unreadable: 'the line is not UTF-8' }
  else if (text.trim() !== '') yield { lineNumber, bytesRead, text }
}

/**
 * Unpacks chunk by chunk. Reading a gunzip stream would drop what it has unpacked but not yet given when it meets
 * damage; here all that came before the damage is given first.
 */
async function* unpacked(file: Readable): AsyncGenerator<Buffer> {
  const gunzip = createGunzip()
  const end = finished(gunzip)
  end.catch(() => {}) // heard below, in its turn
  const ready: Buffer[] = []
  gunzip.on('data', (chunk: Buffer) => ready.push(chunk))
  try {
    for await (const chunk of file) {
      await Promise.race([new Promise((written) => gunzip.write(chunk, written)), end.catch(() => {})])
      yield* ready.splice(0)
      if (gunzip.errored) throw gunzip.errored
    }
    gunzip.end()
    await end.catch(() => {})
    yield* ready.splice(0)
    if (gunzip.errored) throw gunzip.errored
  } finally {
    gunzip.destroy()
  }
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

function isGzipError(error: unknown): error is { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_')
}

function cannotRead(path: string, cause: unknown): AppError {
  return new AppError('INVALID_REQUEST', `Cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`, {
    cause,
  })
}
