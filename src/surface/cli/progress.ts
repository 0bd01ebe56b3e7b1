import { count, duration } from './format.ts'
import type { Terminal } from './terminal.ts'

const REDRAW_MS = 100
const BAR_CHARS_MAX = 40
/** To the start of the line, and away with what is on it. */
const CLEAR_LINE = '\r\x1b[2K'

export interface Progress {
  /** 0 to 1. */
  readonly share: number
  /** What is counted, for the rate: `runs`. */
  readonly done: number
  readonly text: string
}

/** A bar on standard error while a person watches; nothing when it is piped. */
export interface ProgressBar {
  /** Writes a line above the bar. */
  say(line: string): void
  /** Takes the bar away. */
  stop(): void
}

/*
 * Our own, small as it is: the prompts library's bar puts the terminal into raw mode, and there its Ctrl-C ends the
 * process at once instead of draining.
 */
export function startProgress(terminal: Terminal, measure: () => Progress, write = writeToStderr): ProgressBar {
  if (!terminal.watched) return { say: terminal.err, stop: () => {} }
  const startedAt = performance.now()
  const draw = () => write(CLEAR_LINE + barLine(terminal, measure(), performance.now() - startedAt))
  const timer = setInterval(draw, REDRAW_MS)
  draw()
  return {
    say: (line) => {
      write(CLEAR_LINE)
      terminal.err(line)
      draw()
    },
    stop: () => {
      clearInterval(timer)
      write(CLEAR_LINE)
    },
  }
}

function barLine({ columns, styleErr }: Terminal, { share, done, text }: Progress, elapsedMs: number): string {
  const rate = elapsedMs > 0 ? Math.round((done / elapsedMs) * 1_000) : 0
  const facts = `${Math.floor(share * 100)} %  ${text}  ${count(rate)}/s  ${duration(elapsedMs)}`
  const chars = Math.min(columns - facts.length - 3, BAR_CHARS_MAX)
  if (chars < 5) return facts.slice(0, columns - 1)
  const filled = Math.round(Math.min(Math.max(share, 0), 1) * chars)
  return `${styleErr('green', '━'.repeat(filled))}${styleErr('dim', '━'.repeat(chars - filled))}  ${facts}`
}

function writeToStderr(text: string): void {
  process.stderr.write(text)
}
