import { count, duration } from './format.ts'
import type { Terminal } from './terminal.ts'

const BAR_CHARS_MAX = 40
const BAR_CHARS_MIN = 5

export interface Progress {
  /** 0 to 1. */
  readonly share: number
  /** How many are done, for the rate. */
  readonly done: number
  readonly text: string
}

/**
 * Shows a bar while a person watches; the returned function takes it away. Our own, small as it is: the prompts
 * library's bar puts the terminal into raw mode, and there its Ctrl-C ends the process at once instead of draining.
 */
export function showProgress(terminal: Terminal, measure: () => Progress): () => void {
  const startedAt = performance.now()
  return terminal.live(() => progressLine(terminal, measure(), performance.now() - startedAt))
}

/** Says what is waited for, and for how long by now, while a person watches. */
export async function whileWaiting<T>(terminal: Terminal, what: string, work: Promise<T>): Promise<T> {
  const startedAt = performance.now()
  const hide = terminal.live(() => terminal.styleErr('dim', `${what} ${duration(performance.now() - startedAt)}`))
  try {
    return await work
  } finally {
    hide()
  }
}

export function progressLine(
  { columns, styleErr }: Pick<Terminal, 'columns' | 'styleErr'>,
  { share, done, text }: Progress,
  elapsedMs: number,
): string {
  const rate = elapsedMs > 0 ? Math.round((done / elapsedMs) * 1_000) : 0
  const facts = `${Math.floor(share * 100)} %  ${text}  ${count(rate)}/s  ${duration(elapsedMs)}`
  const chars = Math.min(columns - facts.length - 3, BAR_CHARS_MAX)
  if (chars < BAR_CHARS_MIN) return facts.slice(0, columns - 1)
  const filled = Math.round(Math.min(Math.max(share, 0), 1) * chars)
  return `${styleErr('green', '━'.repeat(filled))}${styleErr('dim', '━'.repeat(chars - filled))}  ${facts}`
}
