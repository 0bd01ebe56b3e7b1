import type { IncomingMessage } from 'node:http'
import { pipeline, type Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { AppError } from '../../../foundation/app-error.ts'
import type { Json } from '../../../foundation/json.ts'
import { limits } from '../../../limits.ts'

/** What is kept of the answer's headers: what plans need, and never a cookie. */
const KEPT_HEADERS = [
  'content-type',
  'etag',
  'last-modified',
  'link',
  'location',
  'retry-after',
  'x-request-id',
] as const

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}

/**
 * Returns the answer's body: parsed where its content type is JSON and it is JSON, else as text in its charset. Fails
 * with `HTTP_FAILED`, not worth a retry, when it is over 1 MiB, decompressed.
 */
export async function readBody(answer: IncomingMessage): Promise<Json> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of decoded(answer)) {
    sizeBytes += chunk.length
    if (sizeBytes > limits.httpCallResponseBytesMax) {
      throw new AppError('HTTP_FAILED', `The answer is larger than ${limits.httpCallResponseBytesMax} bytes`, {
        kind: 'terminal',
        hint: 'Ask for less at a time.',
      })
    }
    chunks.push(chunk)
  }
  const contentType = answer.headers['content-type'] ?? ''
  const text = textOf(Buffer.concat(chunks), contentType)
  return isJson(contentType) ? parsedOrText(text) : text
}

export function keptHeaders(answer: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    KEPT_HEADERS.flatMap((name) => {
      const value = answer.headers[name]
      return value === undefined ? [] : [[name, String(value)]]
    }),
  )
}

function decoded(answer: IncomingMessage): Readable {
  const decoder = DECODERS[answer.headers['content-encoding']?.toLowerCase() ?? '']
  return decoder ? pipeline(answer, decoder(), () => {}) : answer // an error shows where the result is read
}

function textOf(bytes: Buffer, contentType: string): string {
  const charset = /charset="?([\w-]{1,40})/i.exec(contentType)?.[1]
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return bytes.toString() // a charset that nobody knows
  }
}

function isJson(contentType: string): boolean {
  return /^\s*[\w.+-]+\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(contentType)
}

function parsedOrText(text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
