import { createReadStream } from 'node:fs'
import { Expressions, type LintedFile, type LintFinding, lintPolicies } from '../../domains/policies/policies.ts'
import { AppError } from '../../foundation/app-error.ts'
import { limits } from '../../limits.ts'
import { plural } from './format.ts'
import { readText } from './read-json.ts'
import { printable, type Terminal } from './terminal.ts'

/** A policy file that was read and checked. */
export interface PolicySource extends LintedFile {
  /** As the command was given it; `standard input` for `-`. */
  readonly path: string
  readonly text: string
}

const TOO_LARGE = `A tenant has at most ${limits.policiesPerTenantMax} policies: leave out what is not one.`

/** Reads and checks the file, as JSON where its name ends so; `-` is standard input. Fails when it can't be read or is too large. */
export async function lintFile(path: string): Promise<PolicySource> {
  const [stream, name] = path === '-' ? [process.stdin, 'standard input'] : [createReadStream(path), path]
  const text = await readText(stream, name, limits.policyFileBytesMax, TOO_LARGE)
  const linted = await lintPolicies(text, new Expressions(), /\.json$/i.test(path) ? 'json' : 'yaml')
  return { path: name, text, ...linted }
}

/** The file's policies. Tells what is wrong with it, with the places, and fails with `INVALID_POLICY`. */
export async function readPolicies(terminal: Terminal, path: string, asJson: boolean): Promise<LintedFile['policies']> {
  const source = await lintFile(path)
  const { findings, policies } = source
  if (findings.length === 0) return policies
  if (!asJson) for (const line of findingLines(source, terminal.styleErr)) terminal.err(line)
  throw new AppError(
    'INVALID_POLICY',
    `${source.path} has ${plural(findings.length, 'problem')}; nothing was changed`,
    {
      hint: 'Correct the places that are shown.',
      details: { findings: findings.map((finding) => ({ ...finding })) },
    },
  )
}

const EXCERPT_CHARS_MAX = 160
const LEAD_CHARS_MAX = 60

/** Each finding with its line of the file and a caret under the place. */
export function findingLines({ path, text, findings }: PolicySource, style: Terminal['style']): string[] {
  const lines = text.split(/\r?\n/)
  return findings.flatMap((finding) => {
    const { line, column, message, hint } = finding
    const { excerpt, carets } = excerptOf(lines[line - 1] ?? '', finding)
    const number = String(line)
    const gutter = ' '.repeat(number.length)
    return [
      `${style('bold', `${printable(path)}:${line}:${column}`)}  ${style('red', printable(message, 500))}`,
      `  ${style('dim', `${number} |`)} ${excerpt}`,
      `  ${style('dim', `${gutter} |`)} ${style('red', carets)}`,
      `  ${gutter} ${style('dim', `hint  ${printable(hint, 500)}`)}`,
      '',
    ]
  })
}

/** A long line is cut around the place. Each character of it becomes one on the screen, so that the caret is right. */
function excerptOf(line: string, { column, length }: LintFinding): { excerpt: string; carets: string } {
  const from = Math.max(0, column - 1 - LEAD_CHARS_MAX)
  const excerpt = Array.from({ length: Math.min(line.length - from, EXCERPT_CHARS_MAX) }, (_, i) => {
    const shown = printable(line[from + i] ?? '')
    return shown.length === 1 ? shown : ' '
  }).join('')
  const at = column - 1 - from
  const room = Math.max(1, excerpt.length - at)
  return { excerpt, carets: ' '.repeat(at) + '^'.repeat(Math.max(1, Math.min(length, room))) }
}
