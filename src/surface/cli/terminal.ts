import { stripVTControlCharacters, styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** What a command may say to: results go to `out`, everything about the work to `err`. */
export interface Terminal {
  out(line: string): void
  err(line: string): void
  /**
   * Keeps a line at the bottom of standard error, redrawn ten times a second, everything else above it, until the
   * returned function is called. Nothing is drawn unless a person watches.
   */
  live(line: () => string): () => void
  /** Aborts when the reader of standard output has gone, as `head` does when it has enough. */
  readonly unread: AbortSignal
  /** Characters that fit a line of standard output; 120 when it is no terminal. */
  readonly columns: number
  /** Colours for standard output; none when it is piped or NO_COLOR is set. */
  style(style: Style, text: string): string
  /** The same for standard error. */
  styleErr(style: Style, text: string): string
}

const COLUMNS_WHEN_PIPED = 120
const COLUMNS_MIN = 40
const REDRAW_MS = 100
const CLEAR_LINE = '\r\x1b[2K'

/** The process's own streams. What nobody reads any more is dropped without an error. */
export function processTerminal({ stdout, stderr }: NodeJS.Process): Terminal {
  const unread = new AbortController()
  const onBroken = (broken: () => void) => (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    broken()
  }
  stdout.on(
    'error',
    onBroken(() => unread.abort()),
  )
  stderr.on(
    'error',
    onBroken(() => {}),
  )
  let liveLine: (() => string) | undefined
  const clear = () => void (liveLine && stderr.write(CLEAR_LINE))
  const draw = () => void (liveLine && stderr.write(CLEAR_LINE + liveLine()))
  const write = (stream: NodeJS.WriteStream, line: string) => {
    clear()
    stream.write(`${line}\n`)
    draw()
  }
  return {
    out: (line) => write(stdout, line),
    err: (line) => write(stderr, line),
    live: (line) => {
      if (!stderr.isTTY) return () => {}
      liveLine = line
      const timer = setInterval(draw, REDRAW_MS)
      draw()
      return () => {
        clearInterval(timer)
        clear()
        liveLine = undefined
      }
    },
    unread: unread.signal,
    get columns() {
      return Math.max(stdout.isTTY ? stdout.columns : COLUMNS_WHEN_PIPED, COLUMNS_MIN)
    },
    style: (style, text) => styleText(style, text, { stream: stdout }),
    styleErr: (style, text) => styleText(style, text, { stream: stderr }),
  }
}

// Controls, and what turns the direction of text round: either would let recorded text forge what the screen shows.
const UNPRINTABLE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/gu
const DISGUISES = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g
const CONTROL_PICTURES = 0x2400

/** Text of unknown origin on one line: controls as visible signs (␛ for escape), cut to `charsMax` with an ellipsis. */
export function printable(text: string, charsMax = 10_000): string {
  const shown = stripVTControlCharacters(text.slice(0, charsMax * 2))
    .replace(/\s+/g, ' ')
    .replace(UNPRINTABLE, visible)
  return shown.length <= charsMax ? shown : `${shown.slice(0, charsMax - 1)}…`
}

/** JSON in which the same characters are escapes, as far as JSON itself leaves them raw. */
export function escapeDisguises(json: string): string {
  return json.replace(DISGUISES, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function visible(char: string): string {
  const code = char.codePointAt(0) ?? 0
  if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code)
  return code === 0x7f ? '␡' : `\\u${code.toString(16).padStart(4, '0')}`
}
