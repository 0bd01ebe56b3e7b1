import type { StopAllResult } from '../library/library.ts'
import { count } from './format.ts'

/** How a stop of many runs went, in one line. */
export function stoppedText({ requested, ended, delivered, confirmed, unconfirmed }: StopAllResult): string {
  if (requested === 0) return 'There was nothing to stop.'
  const told = requested - ended
  const open = told - confirmed - unconfirmed
  const parts = [
    `${count(requested)} ${requested === 1 ? 'stop' : 'stops'} requested`,
    ended > 0 && `${count(ended)} ended at once: nobody executed them`,
    told > 0 && `${count(delivered)} delivered`,
    told > 0 && `${count(confirmed)} confirmed`,
    unconfirmed > 0 && `${count(unconfirmed)} unconfirmed: a step ignored its signal`,
    open > 0 && `${count(open)} still stopping`,
  ]
  return `${parts.filter(Boolean).join(', ')}.`
}
