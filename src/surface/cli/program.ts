import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { alertsCommands } from './alerts-commands.ts'
import { approvalsCommands } from './approvals-commands.ts'
import { auditCommands } from './audit-commands.ts'
import { commonOptions, type Shell, setUp } from './command.ts'
import { demoCommand } from './demo-command.ts'
import { doctorCommand } from './doctor-command.ts'
import { eventsCommands } from './events-commands.ts'
import { migrateCommand } from './migrate-command.ts'
import { policiesCommands } from './policies-commands.ts'
import { reactorCommand } from './reactor-command.ts'
import { replayCommand } from './replay-command.ts'
import { runsCommands } from './runs-commands.ts'
import { subscriptionsCommands } from './subscriptions-commands.ts'
import { tenantsCommands } from './tenants-commands.ts'
import { workerCommand } from './worker-command.ts'

const NOTES = `
Exit codes: 0 fine, 1 the work failed, 2 usage, 3 configuration, 4 database or transport unreachable,
130 and 143 interrupted before the end.
Commands work on the embedded database in CONCORDAT_DATA_DIR (.concordat), or on DATABASE_URL.`

/** The whole command line. */
export function createProgram(shell: Shell): Command {
  const program = new Command('concordat')
    .description('Governed runs of AI agents: each ends in one atomic agreement between its domains.')
    .version(packageVersion())
    .enablePositionalOptions()
    .addHelpText('after', NOTES)
  for (const option of commonOptions()) program.addOption(option)
  setUp(program, shell)
  const commands = [
    demoCommand,
    replayCommand,
    workerCommand,
    reactorCommand,
    migrateCommand,
    doctorCommand,
    runsCommands,
    policiesCommands,
    approvalsCommands,
    auditCommands,
    alertsCommands,
    tenantsCommands,
    eventsCommands,
    subscriptionsCommands,
  ]
  for (const add of commands) add(program, shell)
  return program
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  return version
}
