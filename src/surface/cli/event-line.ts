import type { EventEnvelope } from '../../foundation/events/events.ts'
import type { Json } from '../../foundation/json.ts'
import { printable, type Style, type Terminal } from './terminal.ts'

const TYPE_CHARS = 28
const DATA_CHARS_MAX = 300

/** One event on one line; with the run's id, unless all are of one run. */
export function eventLine({ style }: Pick<Terminal, 'style'>, event: EventEnvelope, ofOneRun: boolean): string {
  const { type, time, runId, partition, position, data } = event
  const place = `${String(partition).padStart(2)}/${position}`
  const shown = `${time.slice(11, -1)}  ${place.padEnd(9)}  ${ofOneRun ? '' : `${runId}  `}${style(styleOf(event), type.padEnd(TYPE_CHARS))}`
  return `${shown}  ${style('dim', dataText(data))}`
}

function styleOf({ type, data }: EventEnvelope): Style {
  if (type === 'run.completed') return 'green'
  if (type === 'run.failed') return (data as { status?: string } | null)?.status === 'cancelled' ? 'yellow' : 'red'
  return type.startsWith('audit.') ? 'magenta' : 'reset'
}

/** The fields of its data that have a value, as `name=value`. */
function dataText(data: Json): string {
  if (typeof data !== 'object' || data === null) return ''
  const fields = Object.entries(data).filter(([, value]) => value !== null)
  const text = fields.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return printable(text.join(' '), DATA_CHARS_MAX)
}
