import { formatUsd, nanoFromUsd } from '../../foundation/money.ts'

/** How numbers, times and money are written for people. What is not known is a dash: absent is not zero. */
export const UNKNOWN = '–'

export function count(value: number | bigint | null): string {
  return value === null ? UNKNOWN : value.toLocaleString('en-US')
}

/** `3 ms`, `1.25 s`, `2 m 03 s`, `5 h 07 m`, `39 d 10 h`. */
export function duration(ms: number | null): string {
  if (ms === null) return UNKNOWN
  const seconds = ms / 1_000
  if (seconds < 0.9995) return `${Math.round(ms)} ms`
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} m ${pad(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours} h ${pad(minutes % 60)} m`
  return `${Math.floor(hours / 24)} d ${pad(hours % 24)} h`
}

/** Nothing rounded, as what is set is shown: `250 ms`, `5 s`, `1 m 02.5 s`, `1 h 00 m 05 s`. */
export function exactDuration(ms: number | null): string {
  if (ms === null) return UNKNOWN
  if (ms < 1_000) return `${ms} ms`
  const [hours, minutes, seconds] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, (ms % 60_000) / 1_000]
  const padded = seconds < 10 ? `0${seconds}` : String(seconds)
  if (hours > 0) return `${hours} h ${pad(minutes)} m ${padded} s`
  return minutes > 0 ? `${minutes} m ${padded} s` : `${seconds} s`
}

/** The largest unit only: `3 s`, `12 m`, `5 h`, `40 d`. */
export function age(ms: number): string {
  const seconds = Math.max(0, ms / 1_000)
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** `2026-11-21 21:22:57.123 UTC`. */
export function timestamp(at: Date): string {
  return `${at.toISOString().slice(0, -1).replace('T', ' ')} UTC`
}

/** `21:22:57.123`, for rows below a full timestamp. */
export function timeOfDay(at: Date | null): string {
  return at === null ? UNKNOWN : at.toISOString().slice(11, -1)
}

export function usd(amount: number | null): string {
  return amount === null ? UNKNOWN : formatUsd(nanoFromUsd(amount))
}

/** What was used of a metric, in its unit. */
export function amount(metric: string, value: number): string {
  return metric === 'cost_usd' ? usd(value) : count(value)
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`
}

/** Puts items into lines of at most so many characters; one that is longer has a line for itself. */
export function fillLines(items: readonly string[], chars: number, separator = ' '): string[] {
  const lines: string[] = []
  for (const item of items) {
    const longer = lines.length > 0 ? lines.at(-1) + separator + item : ''
    if (longer !== '' && longer.length <= chars) lines[lines.length - 1] = longer
    else lines.push(item)
  }
  return lines
}

function pad(value: number): string {
  return String(Math.floor(value)).padStart(2, '0')
}
