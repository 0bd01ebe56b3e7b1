import { type Command, InvalidArgumentError, Option } from 'commander'
import { type ExitCode, usageError } from './errors.ts'
import type { CommandContext, CommonOptions, OpenSession } from './session.ts'
import type { Terminal } from './terminal.ts'

/** Where commands are added: whom they talk to, what they work on, and who hears how they end. */
export interface Shell {
  readonly terminal: Terminal
  readonly open: OpenSession
  /** Errors are told as JSON, and then nothing else beside them. */
  readonly asJson: boolean
  onExit(code: ExitCode): void
}

/** Adds a command to its parent. */
export type AddCommand = (parent: Command, shell: Shell) => void

/** A command as help lists it. */
export interface CommandHead {
  /** Name and arguments, as in `get <run>`. */
  readonly usage: string
  readonly description: string
}

export interface CommandSpec<Options> extends CommandHead {
  readonly options?: readonly Option[]
  run(context: CommandContext<Options & CommonOptions>): Promise<ExitCode>
}

/** A command with its own options and the common ones. */
export function defineCommand<Options extends object = object>(spec: CommandSpec<Options>): AddCommand {
  return (parent, shell) => {
    const command = addHead(parent, shell, spec, spec.options)
    command.action(async () => {
      const { terminal } = shell
      const options = command.optsWithGlobals<Options & CommonOptions>()
      const open: CommandContext['open'] = (session) => shell.open(terminal, options.config, session)
      shell.onExit(await spec.run({ terminal, options, args: command.args, open }))
    })
  }
}

/** A noun with its verbs, as in `runs list`. */
export function defineNoun(head: CommandHead, verbs: readonly AddCommand[]): AddCommand {
  return (parent, shell) => {
    const noun = addHead(parent, shell, head)
    for (const verb of verbs) verb(noun, shell)
  }
}

/** A command that does nothing yet: for help to list it. */
export function addHead(
  parent: Command,
  shell: Shell,
  { usage, description }: CommandHead,
  options: readonly Option[] = [],
): Command {
  const command = parent.command(usage).description(description)
  for (const option of [...options, ...commonOptions()]) command.addOption(option)
  return setUp(command, shell)
}

/** What every command takes; the program itself too, so that they may also stand before the command. */
export function commonOptions(): Option[] {
  return [
    new Option('--json', 'print JSON for tools, errors included'),
    new Option('--tenant <name>', 'the tenant that it is about'),
    new Option('--config <file>', 'configuration file; default concordat.config.ts, .mts, .js or .mjs here'),
  ]
}

/** Makes a command tell its errors through us instead of ending the process. */
export function setUp(command: Command, { terminal, asJson }: Shell): Command {
  return command
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => void (asJson || terminal.err(text.trimEnd())),
      outputError: () => {}, // told with hint and exit code where all errors are
    })
    .exitOverride((error) => {
      throw usageError(error, pathOf(command)) ?? error
    })
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()
}

/** An option's integer within bounds. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^-?\d+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
  }
}

// Date takes much more than ISO 8601, and reads some of it in the machine's zone.
const INSTANT = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** An option's point in time in ISO 8601; without a zone it is UTC. */
export function instant(text: string): Date {
  const at = new Date(/T[^Z+-]*$/.test(text) ? `${text}Z` : text)
  if (INSTANT.test(text) && !Number.isNaN(at.getTime())) return at
  throw new InvalidArgumentError('It must be a time in ISO 8601, as in 2026-01-31T08:00:00Z.')
}
