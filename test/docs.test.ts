import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { outdatedPages } from '../scripts/reference-docs.ts'
import { variables } from '../src/config-variables.ts'
import { COMPLETION_WRITES } from '../src/flow/completion/completion-writes.ts'
import { errorCodes } from '../src/foundation/error-codes.ts'
import { eventTypes } from '../src/foundation/events/events.ts'
import type { Shell } from '../src/surface/cli/command.ts'
import { COMMAND_NAMES, createProgram } from '../src/surface/cli/program.ts'
import { anchors, codeBlocks, inlineCode, links, page, pages, root } from './support/markdown.ts'

const scripts = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts as Record<string, string>

describe('what is made from the code', () => {
  it('is current: reference pages, the picture of the phases, the table of the layers', () => {
    expect(outdatedPages().map(({ page }) => page)).toEqual([])
  })

  it.each([
    ['error code', 'errors.md', Object.keys(errorCodes)],
    ['event', 'events.md', Object.keys(eventTypes)],
    ['variable', 'configuration.md', Object.values(variables).map(({ variable }) => variable)],
  ])('names every %s', (_, file, names) => {
    const { text } = page(`docs/reference/${file}`)
    expect(names.filter((name) => !text.includes(name))).toEqual([])
  })
})

describe('what the architecture says', () => {
  const architecture = page('docs/ARCHITECTURE.md')

  it('lists the writes of a completion in their order, each with the phase that it reaches', () => {
    const written = [...architecture.text.matchAll(/^\| \d \| `(\w+)\/(\w+)` .*\| `(\w+)` +\|$/gm)]
    expect(written.map(([, domain, action, reaches]) => ({ domain, action, reaches }))).toEqual(
      COMPLETION_WRITES.map(({ action, reaches }) => ({ ...action, reaches })),
    )
  })

  it('is so: no statement outside the kernel writes the table of runs', () => {
    const writing =
      /(insert\s+into|update|delete\s+from)\s+concordat\.runs\b|(insertInto|updateTable|deleteFrom)\('concordat\.runs'/
    const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    )
    const migrations = 'foundation/storage/migrations/' // they change what is there while nothing runs
    const writers = files.filter((file) => writing.test(readFileSync(join(root, 'src', file), 'utf8')))
    expect(writers.length).toBeGreaterThan(0)
    expect(writers.filter((file) => !file.startsWith('flow/kernel/') && !file.startsWith(migrations))).toEqual([])
  })
})

describe.each(pages())('$path', (here) => {
  it('links to pages and headings that exist', () => {
    const broken = links(here).filter((target) => {
      if (/^https?:/.test(target)) return false
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? here.path : join(dirname(here.path), path)
      if (!existsSync(join(root, file))) return true
      return anchor !== undefined && !anchors(page(file)).includes(anchor)
    })
    expect(broken).toEqual([])
  })

  it('names files and folders that exist', () => {
    const paths = inlineCode(here).filter((code) => /^[\w.-]+\/[\w./-]*$/.test(code) && /\.\w+$|\/$/.test(code))
    const missing = paths.filter((path) => ['', 'src', 'docs'].every((folder) => !existsSync(join(root, folder, path))))
    expect(missing).toEqual([])
  })

  it('names scripts and commands that exist, with options that they have', () => {
    const shell = codeBlocks(here, 'sh').flatMap(({ text }) => text.split('\n'))
    const lines = [...shell, ...inlineCode(here)].map((line) => line.replace(/#.*$/, ''))
    const called = lines.flatMap((line) => [...line.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name = '']) => name))
    expect(called.filter((name) => !(name in scripts))).toEqual([])
    expect(lines.flatMap(commandsIn).flatMap(faultsOf)).toEqual([])
  })
})

describe('the scripts that README tells people to run', () => {
  it('run files that exist', () => {
    const files = Object.values(scripts).flatMap((script) => script.split(' ').filter((word) => word.includes('/')))
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
  })
})

describe('the table of commands in README', () => {
  it('names every command', () => {
    const { text } = page('README.md')
    expect(namesOf(program).filter((name) => !text.includes(`\`${name}`))).toEqual([])
  })
})

// Only its commands and options are looked at; nothing is printed.
const program = await createProgram({} as Shell, COMMAND_NAMES)

/** The words of each call of our command in a line of shell, as `npx concordat …` or `npm run -s concordat -- …`. */
function commandsIn(line: string): string[][] {
  const calls = line.matchAll(
    /(?:^|\s)(?:npx concordat|npm run -s concordat --|concordat) ((?:--)?[a-z](?:'[^']*'|[^|&;<>])*)/g,
  )
  return [...calls].map(([, words = '']) => words.match(/'[^']*'|\S+/g) ?? [])
}

function faultsOf(words: readonly string[]): string[] {
  let command: Command = program
  for (const word of words) {
    if (word.startsWith('-')) {
      const known = command.options.some(({ long, short }) => long === word || short === word)
      if (!known && word !== '--help') return [`${words.join(' ')}: ${word}`]
      continue
    }
    const verb = command.commands.find((each) => each.name() === word)
    if (verb) command = verb
    else if (command.commands.length > 0) return [`${words.join(' ')}: ${word}`]
  }
  return []
}

/** `migrate`, `runs submit` and so on. */
function namesOf(command: Command, prefix = ''): string[] {
  return command.commands.flatMap((each) => {
    const name = `${prefix}${each.name()}`
    return each.commands.length > 0 ? namesOf(each, `${name} `) : [name]
  })
}
