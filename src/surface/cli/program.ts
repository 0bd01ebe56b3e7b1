import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { type AddCommand, addHead, commonOptions, type Shell, setUp } from './command.ts'
import { COMMANDS } from './command-list.ts'

const NOTES = `
Exit codes: 0 fine, 1 the work failed, 2 usage, 3 configuration, 4 database or transport unreachable,
130 and 143 interrupted before the end.
Commands work on the embedded database in CONCORDAT_DATA_DIR (.concordat), or on DATABASE_URL.`

type CommandName = keyof typeof COMMANDS

/** One command of fourteen is called: the others are listed, not loaded. */
const load: Readonly<Record<CommandName, () => Promise<AddCommand>>> = {
  demo: async () => (await import('./demo-command.ts')).demoCommand,
  replay: async () => (await import('./replay-command.ts')).replayCommand,
  worker: async () => (await import('./worker-command.ts')).workerCommand,
  reactor: async () => (await import('./reactor-command.ts')).reactorCommand,
  migrate: async () => (await import('./migrate-command.ts')).migrateCommand,
  doctor: async () => (await import('./doctor-command.ts')).doctorCommand,
  runs: async () => (await import('./runs-commands.ts')).runsCommands,
  policies: async () => (await import('./policies-commands.ts')).policiesCommands,
  approvals: async () => (await import('./approvals-commands.ts')).approvalsCommands,
  audit: async () => (await import('./audit-commands.ts')).auditCommands,
  alerts: async () => (await import('./alerts-commands.ts')).alertsCommands,
  tenants: async () => (await import('./tenants-commands.ts')).tenantsCommands,
  events: async () => (await import('./events-commands.ts')).eventsCommands,
  subscriptions: async () => (await import('./subscriptions-commands.ts')).subscriptionsCommands,
}

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[]

/** The command line, of which those commands can be called that are among the words. */
export async function createProgram(shell: Shell, words: readonly string[]): Promise<Command> {
  const program = new Command('concordat')
    .description('Governed runs of AI agents: each ends in one atomic agreement between its domains.')
    .version(packageVersion())
    .enablePositionalOptions()
    .addHelpText('after', NOTES)
  for (const option of commonOptions()) program.addOption(option)
  setUp(program, shell)
  for (const name of COMMAND_NAMES) {
    if (words.includes(name)) (await load[name]())(program, shell)
    else addHead(program, shell, COMMANDS[name])
  }
  return program
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  return version
}
