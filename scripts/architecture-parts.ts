/** The parts of docs/ARCHITECTURE.md that are drawn from the code's own tables. */
import { NEXT_PHASES, type RunPhase } from '../src/domains/runs/runs.ts'
import { rows } from './layers.ts'
import { table } from './reference-pages.ts'

const parts: Readonly<Record<string, () => string>> = { phases: phasePicture, layers: layerTable }

/** The page with its marked parts as the code has them now. Fails when a mark is missing. */
export function withParts(page: string): string {
  return Object.entries(parts).reduce((text, [name, draw]) => {
    const [begin, end] = [`<!-- from the code: ${name} -->\n`, `<!-- end: ${name} -->`]
    const [from, to] = [text.indexOf(begin), text.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`docs/ARCHITECTURE.md has no part marked ${begin.trim()} … ${end}`)
    return text.slice(0, from + begin.length) + draw() + text.slice(to)
  }, page)
}

const ARROW = ' ─► '
const LAST_ARROW = '─► '

/** The way of a run that goes well as a line, and below it the phase that all others can fall to. */
function phasePicture(): string {
  const way = wayThrough('CREATED')
  const [exit, ...others] = [...new Set(way.flatMap((phase) => NEXT_PHASES[phase]).filter((to) => !way.includes(to)))]
  if (exit === undefined || others.length > 0)
    throw new Error('the phases have another shape than this picture can show')
  const line = way.join(ARROW)
  const leaving = way.filter((phase) => (NEXT_PHASES[phase] as readonly RunPhase[]).includes(exit))
  const drops = leaving.map((phase) => line.indexOf(phase) + Math.floor(phase.length / 2))
  const end = line.length - exit.length - LAST_ARROW.length
  const draw = (charAt: (column: number) => string) =>
    Array.from({ length: end }, (_, column) => charAt(column)).join('')
  const stems = draw((column) => (drops.includes(column) ? '│' : ' ')).trimEnd()
  const floor = draw((column) =>
    column < (drops[0] ?? 0) ? ' ' : column === drops[0] ? '└' : drops.includes(column) ? '┴' : '─',
  )
  return `\`\`\`text\n${line}\n${stems}\n${floor}${LAST_ARROW}${exit}\n\`\`\`\n`
}

function wayThrough(phase: RunPhase): RunPhase[] {
  const [next] = NEXT_PHASES[phase]
  return next === undefined ? [phase] : [phase, ...wayThrough(next)]
}

function layerTable(): string {
  const named = (layer: string) => (layer === '*' ? 'every layer' : `\`${layer}\``)
  return table(
    ['layer', 'may import', 'because'],
    rows.map(({ from, to, why }) => [named(from), named(to), why]),
  )
}
