/** The reference pages as text, made from the code's own tables. */
import { governanceProfiles, type ProfileSettings, profileTable } from '../src/config-profile.ts'
import { type Settings, type Variable, variables } from '../src/config-variables.ts'
import { type ErrorCode, errorCodes } from '../src/foundation/error-codes.ts'

export function errorsPage(): string {
  const rows = Object.keys(errorCodes)
    .sort()
    .map((code) => {
      const entry = errorCodes[code as ErrorCode]
      return [`\`${code}\``, entry.kind, 'exitCode' in entry ? entry.exitCode : 1, entry.meaning, entry.hint].map(
        String,
      )
    })
  return `# Errors

Every error has a code, a kind and a hint. \`retryable\`: the same call may succeed later unchanged; \`terminal\`: it
will not. Kind and hint are what the code says by itself; the place that throws may know better. The exit code is that
of a command which ends with the error: 1 the work failed, 2 usage, 3 configuration, 4 unreachable.

${table(['code', 'kind', 'exit', 'what happened', 'what to do'], rows)}`
}

export function configurationPage(): string {
  const keys = Object.keys(variables) as (keyof Settings)[]
  const rows = keys.map((key) => {
    const { variable, kind, meaning, secret, notEnforced }: Variable<unknown> = variables[key]
    const notes = [secret && `Also as \`${variable}_FILE\`.`, notEnforced && 'Not enforced by this version.']
    return [`\`${variable}\``, defaultOf(key), kind.expected, [meaning, ...notes].filter(Boolean).join(' ')]
  })
  const profileRows = (Object.keys(profileTable) as (keyof ProfileSettings)[]).map((key) => [
    `\`${variables[key].variable}\``,
    defaultOf(key),
    ...governanceProfiles.map((profile) => `\`${show(key, profileTable[key][profile])}\``),
    tighterOf(key),
  ])
  return `# Configuration

From the environment. An option in code or on the command line wins over a variable, a variable over
\`GOVERNANCE_PROFILE\`, the profile over the default. An empty variable counts as unset. All problems are told at once,
with \`INVALID_CONFIGURATION\`. \`concordat doctor\` prints what is effective.

## Variables

${table(['variable', 'default', 'allowed', 'meaning'], rows)}
## Governance profiles

\`GOVERNANCE_PROFILE\` picks a column. A single variable that is set wins over \`STANDARD\` and \`OBSERVE_ONLY\`. It may
tighten \`STRICT\`, never loosen it: the start is refused, saying what to change. \`OBSERVE_ONLY\` also mutes policy
decisions: they are made and recorded, not acted upon.

${table(['variable', 'unset', ...governanceProfiles.map((profile) => `\`${profile}\``), 'tighter'], profileRows)}
## Combinations that are refused

- \`EVENT_TRANSPORT=redis-pubsub\` or \`redis-streams\` without \`REDIS_URL\`, and \`EVENT_TRANSPORT=postgres\` without \`DATABASE_URL\`.
- A reactor process on the embedded database, or with \`EVENT_TRANSPORT=memory\`.
- A variable and its \`_FILE\` variant together.
`
}

function defaultOf(key: keyof Settings): string {
  const entry = variables[key]
  if (entry.defaultText) return entry.defaultText
  return entry.default === undefined ? 'not set' : `\`${show(key, entry.default)}\``
}

function tighterOf(key: keyof ProfileSettings): string {
  const { tighter } = profileTable[key]
  return tighter === 'lower' ? 'lower' : tighter.map((value) => `\`${value}\``).join(' → ')
}

function show<Key extends keyof Settings>(key: Key, value: NonNullable<Settings[Key]>): string {
  const entry: Variable<Settings[Key]> = variables[key]
  return entry.kind.show(value)
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |\n`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|\n`
  return [line(head), rule, ...rows.map(line)].join('')
}
