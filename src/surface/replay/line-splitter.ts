export interface LineBytes {
  /** From 1; blank lines count. */
  readonly lineNumber: number
  /** Without the line break; null for a line over the limit. */
  readonly bytes: Buffer | null
}

const LINE_BREAK = 0x0a

/** Cuts a stream of chunks into lines of at most so many bytes; of a longer line nothing is kept. */
export class LineSplitter {
  /** The last line that was complete. */
  lineNumber = 0
  readonly #lineBytesMax: number
  #parts: Buffer[] = []
  #sizeBytes = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  *push(chunk: Buffer): Generator<LineBytes> {
    let start = 0
    for (let end = chunk.indexOf(LINE_BREAK); end >= 0; end = chunk.indexOf(LINE_BREAK, start)) {
      this.#hold(chunk.subarray(start, end))
      yield this.#take()
      start = end + 1
    }
    this.#hold(chunk.subarray(start))
  }

  /** The last line, if the stream did not end with a line break. */
  *end(): Generator<LineBytes> {
    if (this.#sizeBytes > 0) yield this.#take()
  }

  #hold(part: Buffer): void {
    this.#sizeBytes += part.length
    if (this.#sizeBytes > this.#lineBytesMax) this.#parts = []
    else if (part.length > 0) this.#parts.push(part)
  }

  #take(): LineBytes {
    const isTooLong = this.#sizeBytes > this.#lineBytesMax
    const line = { lineNumber: ++this.lineNumber, bytes: isTooLong ? null : Buffer.concat(this.#parts) }
    this.#parts = []
    this.#sizeBytes = 0
    return line
  }
}
