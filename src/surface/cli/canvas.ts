import type { RunReport } from '../library/library.ts'
import type { Terminal } from './terminal.ts'

/** What a view needs of the terminal: its width and its colours. */
export type Canvas = Pick<Terminal, 'columns' | 'style'>

export interface RunView {
  readonly report: RunReport
  /** When it is looked at. */
  readonly now: Date
  /** Why nobody takes it, where it waits for a worker and none will come. */
  readonly unclaimedBecause: string | null
}

/** A section's title with what sums it up. */
export function title({ style }: Canvas, name: string, summary = ''): string {
  return `${style('bold', name)}${summary && `  ${summary}`}`
}
